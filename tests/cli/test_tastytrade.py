"""The real broker file through the real command line, in every way a user may feed it."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from domain.cli.app import app
from domain.demo import files

PASSWORD = "correct horse battery staple"
COMMAND = (sys.executable, "-c", "from domain.cli import main; main()")
TIMEOUT = 120


class Terminal:
    """Runs `tradekeep` against one database."""

    def __init__(self, url: str) -> None:
        self.environment = {
            **os.environ,
            "DATABASE_URL": url,
            "TRADEKEEP_PASSWORD": PASSWORD,
            "COLUMNS": "200",
        }

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command inside this process: starting Python anew takes longer than the work."""
        done = CliRunner().invoke(app, list(arguments), env=self.environment)
        assert done.exit_code == status, f"{done.output}\n{done.exception!r}"
        return done.stdout if status == 0 else done.output

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--format", "json"))

    def take_in(self, path: Path, portfolio: str) -> Any:
        return json.loads(
            self.run("import", "tastytrade", str(path), "--user", "ada", "--portfolio", portfolio)
        )

    def reports(self, portfolio: str) -> str:
        """Every report of a portfolio, as bytes would be compared."""
        place = ("--user", "ada", "--portfolio", portfolio)
        parts = [
            self.run("positions", *place, "--format", "json"),
            self.run("pnl", *place, "--by", "year,kind", "--format", "json"),
            self.run("pnl", *place, "--by", "symbol", "--format", "csv"),
            self.run("cash", *place, "--format", "json"),
        ]
        return "".join(parts)


@pytest.fixture
def terminal(migrated_database: str) -> Terminal:
    terminal = Terminal(migrated_database)
    terminal.run("user", "create", "ada")
    return terminal


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "history.csv"
    path.write_bytes(files.content(files.TASTYTRADE))
    return path


def rewritten(whole: Path, name: str, change: Callable[[list[str]], list[str]]) -> Path:
    header, *rows = whole.read_text().splitlines()
    path = whole.parent / name
    path.write_text("\n".join([header, *change(rows)]) + "\n")
    return path


def shuffled(rows: list[str]) -> list[str]:
    copy = list(rows)
    random.Random(11).shuffle(copy)
    return copy


def test_the_figures_of_the_real_file_are_those_of_a_calculation_by_hand(
    terminal: Terminal, whole: Path
) -> None:
    report = terminal.take_in(whole, "Broker")

    assert report == {
        "rows_total": 85,
        "rows_new": 85,
        "rows_duplicate": 0,
        "rows_rejected": 0,
        "rejected": [],
    }
    place = ("--user", "ada", "--portfolio", "Broker")
    # LFIN: 200 sold short at 30 by assignment, covered at 57.20 and 56.76: 6,000 - 11,396.
    # BABA: 100 bought at 190 by assignment, sold at 160.73: 16,073 - 19,000.
    assert terminal.json("pnl", *place, "--by", "year,kind") == [
        {
            "year": 2018,
            "kind": "option",
            "gross": "3728",
            "fees": "18.52",
            "net": "3709.48",
            "closures": 12,
        },
        {
            "year": 2018,
            "kind": "stock",
            "gross": "-5396",
            "fees": "5.32",
            "net": "-5401.32",
            "closures": 2,
        },
        {
            "year": 2019,
            "kind": "option",
            "gross": "2655",
            "fees": "20.7",
            "net": "2634.3",
            "closures": 16,
        },
        {
            "year": 2019,
            "kind": "stock",
            "gross": "-2927",
            "fees": "5.43",
            "net": "-2932.43",
            "closures": 1,
        },
    ]
    assert terminal.json("positions", *place) == []
    cash = {row["kind"]: Decimal(row["amount"]) for row in terminal.json("cash", *place)}
    assert sum(cash.values()) == total_of(whole) == Decimal("1406.85")
    assert cash["deposit"] == Decimal("1200.00") + Decimal("1149.50") + Decimal("1101.70")
    assert json.loads(terminal.run("verify", "--format", "json"))["breaks"] == []


def total_of(path: Path) -> Decimal:
    """Add up the file's money without any of our code."""
    total = Decimal(0)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for column in ("Value", "Commissions", "Fees"):
                text = row[column].replace(",", "")
                total += Decimal(text) if text not in {"", "--"} else 0
    return total


def test_twice_shuffled_and_in_halves_give_the_same_bytes(terminal: Terminal, whole: Path) -> None:
    terminal.take_in(whole, "Once")
    expected = terminal.reports("Once")
    assert "net" in expected

    terminal.take_in(whole, "Twice")
    again = terminal.take_in(whole, "Twice")
    terminal.take_in(rewritten(whole, "shuffled.csv", shuffled), "Shuffled")
    for name, change in (
        ("late.csv", lambda rows: rows[:42]),
        ("early.csv", lambda rows: rows[42:]),
    ):
        terminal.take_in(rewritten(whole, name, change), "Halves")
    for name, change in (
        ("odd.csv", lambda rows: shuffled(rows)[1::2]),
        ("all.csv", shuffled),
    ):
        terminal.take_in(rewritten(whole, name, change), "Pieces")

    assert (again["rows_new"], again["rows_duplicate"]) == (0, 85)
    for portfolio in ("Twice", "Shuffled", "Halves", "Pieces"):
        assert terminal.reports(portfolio) == expected, portfolio
    assert json.loads(terminal.run("verify", "--format", "json"))["breaks"] == []


def test_an_import_killed_half_way_leaves_nothing_and_its_repetition_everything(
    terminal: Terminal, whole: Path
) -> None:
    terminal.take_in(whole, "Once")
    arguments = ["import", "tastytrade", str(whole), "--user", "ada", "--portfolio", "Killed"]
    for delay in (0.9, 1.3, 1.7, 2.1):
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=terminal.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()

    terminal.take_in(whole, "Killed")

    assert terminal.reports("Killed") == terminal.reports("Once")
    assert json.loads(terminal.run("verify", "--format", "json"))["breaks"] == []


def test_a_dry_run_reports_and_writes_nothing(terminal: Terminal, whole: Path) -> None:
    place = ("--user", "ada", "--portfolio", "Preview")
    report = json.loads(terminal.run("import", "tastytrade", str(whole), *place, "--dry-run"))
    assert report["rows_new"] == 85
    assert "was not found" in terminal.run("cash", *place, status=1)


def test_refused_rows_are_named_and_the_others_are_booked(terminal: Terminal, whole: Path) -> None:
    broken = rewritten(
        whole,
        "broken.csv",
        lambda rows: [*rows[:3], rows[3].replace("9.30", "abc").replace("-930.00", "NaN")],
    )
    output = terminal.run(
        "import", "tastytrade", str(broken), "--user", "ada", "--portfolio", "Broken", status=1
    )
    report = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert (report["rows_new"], report["rows_rejected"]) == (3, 1)
    (refused,) = report["rejected"]
    assert (refused["line"], refused["column"]) == (5, "Value")
    assert refused["value"] == "NaN"


def test_an_import_can_be_reverted_and_made_again(terminal: Terminal, whole: Path) -> None:
    terminal.take_in(whole, "Once")
    terminal.take_in(whole, "Reverted")
    place = ("--user", "ada", "--portfolio", "Reverted")
    (batch,) = terminal.json("imports", "list", *place)

    terminal.run("imports", "revert", batch["id"], "--user", "ada")

    assert terminal.json("cash", *place) == []
    assert terminal.json("pnl", *place) == []
    assert terminal.take_in(whole, "Reverted")["rows_new"] == 85
    assert terminal.reports("Reverted") == terminal.reports("Once")
    assert json.loads(terminal.run("verify", "--format", "json"))["breaks"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("positions", "--user", "nobody", "--portfolio", "x"), "user 'nobody' was not found"),
        (("positions", "--user", "ada", "--portfolio", "x"), "portfolio 'x' was not found"),
        (("import", "etrade", "x.csv", "--user", "ada", "--portfolio", "x"), "must be readable"),
        (("user", "create", "Ada"), "exists already"),
        (("user", "create", "no spaces"), "letters, digits"),
    ],
)
def test_mistakes_on_the_command_line_are_one_clear_line(
    terminal: Terminal, arguments: tuple[str, ...], message: str
) -> None:
    output = terminal.run(*arguments, status=1)
    assert message in output
    assert "Traceback" not in output


def test_cash_that_came_with_a_reverted_file_can_come_again(
    terminal: Terminal, whole: Path
) -> None:
    for _ in range(2):
        terminal.take_in(whole, "Again")
        (batch, *_) = terminal.json("imports", "list", "--user", "ada", "--portfolio", "Again")
        terminal.run("imports", "revert", batch["id"], "--user", "ada")
    assert terminal.json("cash", "--user", "ada", "--portfolio", "Again") == []
