"""E-mail, against a real SMTP server."""

import email
from collections.abc import AsyncIterator
from email import policy

import pytest
from pydantic import SecretStr

from domain.clock import new_id, now
from domain.errors import ConfigurationError
from domain.messaging.channels import Address, Outgoing, TryLater, Undeliverable
from domain.messaging.mailing import MailChannel, MailServer
from domain.settings import Settings
from tests.messaging.servers import SmtpServer, smtp_server

ADA = Address("ada@example.com")


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with smtp_server() as made:
        yield made


def channel(server: SmtpServer, login: str = "") -> MailChannel:
    url = SecretStr(f"smtp://{login}127.0.0.1:{server.port}")
    found = MailServer.of(
        Settings(smtp_url=url, mail_from="Desk <desk@example.com>", notification_timeout=2)
    )
    assert found is not None
    return MailChannel(found)


def notice(title: str = "Import finished", body: str = "85 trades.\n.\nÄnd") -> Outgoing:
    return Outgoing(new_id(), "notice", "info", title, body, now())


async def test_a_mail_arrives_with_everything_in_it(server: SmtpServer) -> None:
    told = notice()
    await channel(server).deliver(told, ADA)
    mail = email.message_from_bytes(server.mails[0], policy=policy.default)
    assert (mail["From"], mail["To"]) == ("Desk <desk@example.com>", "ada@example.com")
    assert mail["Subject"] == "Import finished"
    assert mail["Message-ID"] == f"<{told.id}@example.com>"
    assert "rcpt TO:<ada@example.com>" in server.commands
    text = mail.get_content()
    assert "85 trades." in text and "Änd" in text


async def test_a_title_cannot_add_a_header_or_a_receiver(server: SmtpServer) -> None:
    await channel(server).deliver(notice("Hi\r\nBcc: eve@example.com\r\n\r\nbody"), ADA)
    mail = email.message_from_bytes(server.mails[0], policy=policy.default)
    assert mail["Bcc"] is None
    assert [line for line in server.commands if line.lower().startswith("rcpt")] == [
        "rcpt TO:<ada@example.com>"
    ]


@pytest.mark.parametrize(
    "target", ["ada", "a@b.example, eve@example.com", "ada@example.com\r\nRCPT TO:<eve@x.y>", ""]
)
async def test_what_is_no_address_is_refused(server: SmtpServer, target: str) -> None:
    with pytest.raises(Undeliverable):
        await channel(server).deliver(notice(), Address(target))
    assert server.commands == []


@pytest.mark.parametrize(
    ("word", "answer", "error"),
    [
        ("RCPT", "550 nobody here called ada@example.com", Undeliverable),
        ("RCPT", "451 later", TryLater),
        ("MAIL", "552 full", Undeliverable),
        ("DATA", "421 busy", TryLater),
    ],
)
async def test_the_servers_answer_says_whether_to_try_again(
    server: SmtpServer, word: str, answer: str, error: type[Exception]
) -> None:
    server.refusals = {word: answer}
    with pytest.raises(error) as caught:
        await channel(server).deliver(notice(), ADA)
    assert str(caught.value) == f"the mail server answered {answer[:3]}"


async def test_a_password_never_travels_without_tls(server: SmtpServer) -> None:
    with pytest.raises(Undeliverable, match="no TLS"):
        await channel(server, "desk:hunter2@").deliver(notice(), ADA)
    assert not any("AUTH" in line for line in server.commands)


async def test_a_server_that_is_not_there_is_tried_later() -> None:
    with pytest.raises(TryLater, match="the mail server failed"):
        await channel(SmtpServer(port=1)).deliver(notice(), ADA)


@pytest.mark.parametrize(
    ("url", "sender"),
    [("http://mail.example.com", "a@b.example"), ("smtp://", "a@b.example"), ("smtp://m", None)],
)
def test_wrong_settings_are_named_without_the_password(url: str, sender: str | None) -> None:
    with pytest.raises(ConfigurationError, match="TRADEKEEP_"):
        MailServer.of(Settings(smtp_url=SecretStr(url), mail_from=sender))


def test_a_mail_server_never_shows_its_password() -> None:
    url = SecretStr("smtps://desk:hunter%402@mail.example.com")
    found = MailServer.of(Settings(smtp_url=url, mail_from="desk@example.com"))
    assert found is not None and (found.port, found.password) == (465, "hunter@2")
    assert "hunter" not in repr(found)
