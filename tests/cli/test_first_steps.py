"""A newcomer's first commands: on the server that comes along, and on one of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from domain.cli.app import app
from domain.demo import files

PASSWORD = "correct horse battery staple"


def test_the_first_commands_work_without_any_preparation(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_bytes(files.content(files.TASTYTRADE))
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "TRADEKEEP_DATABASE_URL"}
    }
    environment |= {"TRADEKEEP_DATA_DIR": str(tmp_path / "data"), "TRADEKEEP_PASSWORD": PASSWORD}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", "from domain.cli import main; main()", *arguments]
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("user", "create", "ada")
    place = ("--user", "ada", "--portfolio", "Main")
    report = json.loads(run("import", "tastytrade", str(file), *place))
    assert report["rows_new"] == 85
    assert json.loads(run("health", "--format", "json"))["ready"] is True


def test_a_server_of_ones_own_is_not_migrated_unasked(empty_database: str) -> None:
    environment = {"DATABASE_URL": empty_database, "TRADEKEEP_PASSWORD": PASSWORD}
    refused = CliRunner().invoke(app, ["user", "create", "ada"], env=environment)
    assert refused.exit_code == 1
    assert "run tradekeep db upgrade" in refused.output

    for command in (["db", "init"], ["db", "check"], ["user", "create", "ada"], ["db", "current"]):
        done = CliRunner().invoke(app, command, env=environment)
        assert done.exit_code == 0, done.output


def test_a_wrong_setting_is_named_with_its_rule() -> None:
    for name, value in (
        ("TRADEKEEP_PORT", "70000"),
        ("TRADEKEEP_ENVIRONMENT", "prod"),
        ("TRADEKEEP_POOL_SIZE", "many"),
        ("DATABASE_URL", "mysql://root:hunter2@localhost/x"),
    ):
        done = CliRunner().invoke(app, ["health"], env={name: value})
        assert done.exit_code == 1
        assert name.removeprefix("TRADEKEEP_") in done.output
        assert "hunter2" not in done.output
        assert "Traceback" not in done.output
