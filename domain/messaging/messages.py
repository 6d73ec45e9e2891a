"""What may be said between programs: one type a message, told apart by ``type``. No I/O.

JSON is camel case, as TTAI's TypeScript union has it; amounts, ids and instants are strings, and
what is None is left out. A message's ``type`` is its topic.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, TypeAlias
from uuid import UUID

import msgspec

from domain.errors import InvalidData
from domain.money import checked, plain

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The root of all messages."""

    ordered_by: ClassVar[str] = "user_id"
    """The field whose messages are handled in order; empty for none."""

    @property
    def topic(self) -> str:
        """The word that stands in ``type``."""
        return str(self.__struct_config__.tag)

    @property
    def key(self) -> str | None:
        """Messages of one type and key are handled in the order in which they were written."""
        value = getattr(self, self.ordered_by) if self.ordered_by else None
        return None if value is None else str(value)


class AnalysisComplete(Fact, frozen=True, tag_field="type", tag="analysis_complete"):
    """An analysis was saved."""

    user_id: UUID
    analysis_id: UUID | None = None
    analysis_type: str | None = None
    symbol: str | None = None
    recommendation: str | None = None
    workflow_id: str | None = None


class AlertTriggered(Fact, frozen=True, tag_field="type", tag="alert_triggered"):
    """A rule fired."""

    ordered_by: ClassVar[str] = "alert_id"

    user_id: UUID
    alert_id: UUID
    condition: str
    current_value: Decimal
    symbol: str | None = None
    event_id: UUID | None = None
    alert_type: str | None = None
    threshold: Decimal | None = None
    severity: str = "info"
    title: str = ""
    message: str = ""
    channels: tuple[str, ...] = ()
    triggered_at: Instant | None = None


class AlertReported(Fact, frozen=True, tag_field="type", tag="alert_reported"):
    """A program reported something; without a user it is for staff."""

    ordered_by: ClassVar[str] = "source"

    event_id: UUID
    title: str
    source: str
    message: str = ""
    user_id: UUID | None = None
    severity: str = "info"
    tags: tuple[str, ...] = ()


class ScreenerComplete(Fact, frozen=True, tag_field="type", tag="screener_complete"):
    """A screener ran."""

    user_id: UUID
    screener_id: UUID
    result_count: int
    run_id: UUID | None = None
    name: str | None = None
    notify_channels: tuple[str, ...] = ()


class ScreenerDue(Fact, frozen=True, tag_field="type", tag="screener_due"):
    """A screener's time has come: whoever runs screeners runs it."""

    ordered_by: ClassVar[str] = "screener_id"

    user_id: UUID
    screener_id: UUID
    name: str
    screener_type: str
    due_at: Instant


class Notice(Fact, frozen=True, tag_field="type", tag="notification"):
    """A user is to be told something on one channel."""

    user_id: UUID
    channel: str
    title: str
    body: str
    data: dict[str, Any] | None = None


class TradeRecorded(Fact, frozen=True, tag_field="type", tag="trade.recorded"):
    """One trade was booked."""

    ordered_by: ClassVar[str] = "portfolio_id"

    user_id: UUID
    portfolio_id: UUID
    trade_id: UUID
    instrument_id: UUID
    quantity: Decimal
    price: Decimal
    executed_at: Instant
    side: str | None = None


class TradesRecorded(Fact, frozen=True, tag_field="type", tag="trades.recorded"):
    """Several trades were booked at once."""

    ordered_by: ClassVar[str] = "portfolio_id"

    user_id: UUID
    portfolio_id: UUID
    instrument_ids: tuple[UUID, ...]


class TradeIngested(Fact, frozen=True, tag_field="type", tag="trade.ingest"):
    """A trade from outside that is to be booked; sent again, it is booked once.

    The instrument is named by its id or its symbol.
    """

    ordered_by: ClassVar[str] = "portfolio_id"

    user_id: UUID
    portfolio_id: UUID
    external_id: str
    side: str
    quantity: Decimal
    price: Decimal
    executed_at: Instant
    source: str
    instrument_id: UUID | None = None
    symbol: str | None = None
    fees: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)
    fee_currency: str | None = None
    fee_rate: Decimal | None = None
    sequence: int = 0
    strategy: str | None = None
    position_ref: str | None = None
    order_type: str | None = None
    leverage: Decimal | None = None
    confidence: Decimal | None = None
    description: str | None = None


AnyMessage: TypeAlias = (
    AnalysisComplete
    | AlertTriggered
    | AlertReported
    | ScreenerComplete
    | ScreenerDue
    | Notice
    | TradeRecorded
    | TradesRecorded
    | TradeIngested
)
"""Every message there is."""

KINDS: Final[tuple[type[Fact], ...]] = AnyMessage.__args__
"""The types of all messages."""


def topic_of(kind: type[Fact]) -> str:
    """Return the topic of a type of message.

    Example:
        >>> topic_of(Notice)
        'notification'
    """
    return str(kind.__struct_config__.tag)


def encoded(message: Fact) -> dict[str, Any]:
    """Return the JSON object of a message.

    Raises:
        InvalidData: A value is not of its field's type.
    """
    payload = msgspec.to_builtins(message, builtin_types=(Decimal,))
    written: dict[str, Any] = _with_plain_amounts(payload)
    decoded(written)
    return written


def decoded(payload: Mapping[str, Any]) -> AnyMessage:
    """Return the message that a JSON object is.

    Raises:
        InvalidData: It is none; the error names the field, its value and the rule.

    Example:
        >>> decoded({"type": "notification", "userId": 7})
        Traceback (most recent call last):
        domain.errors.InvalidData: userId must be a uuid, was 7
    """
    try:
        message: AnyMessage = msgspec.convert(payload, type=AnyMessage)
    except msgspec.ValidationError as error:
        raise _explained(payload, str(error)) from None
    _check_amounts(payload, message)
    return message


def _check_amounts(payload: Mapping[str, Any], message: Fact) -> None:
    names = zip(message.__struct_fields__, message.__struct_encode_fields__, strict=True)
    for name, written in names:
        value = getattr(message, name)
        if isinstance(value, Decimal):
            if isinstance(payload.get(written), float):
                raise InvalidData(written, payload[written], "be a string: a number loses digits")
            checked(value, written)


_MISSING: Final = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_EXPECTED: Final = re.compile(r"Expected `(?P<kind>[^`]+)`")
_PATH: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_PART: Final = re.compile(r"[^.\[\]]+")


def _explained(payload: Mapping[str, Any], text: str) -> InvalidData:
    located = _PATH.search(text)
    path = located["path"] if located else ""
    if missing := _MISSING.match(text):
        field = f"{path}.{missing['field']}" if path else missing["field"]
        return InvalidData(field, None, "be given")
    value = _value_at(payload, path)
    if expected := _EXPECTED.match(text):
        return InvalidData(path or "payload", value, f"be {_in_words(expected['kind'])}")
    if path == "type":
        return InvalidData(path, value, "be the type of a message")
    return InvalidData(path or "payload", value, f"be valid ({text.partition(' - at ')[0]})")


def _in_words(kind: str) -> str:
    if kind == "datetime":
        return "a time with its zone"
    return f"{'an' if kind[0] in 'aeio' else 'a'} {kind}"


def _value_at(payload: Any, path: str) -> Any:
    value = payload
    for part in _PART.findall(path):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple) and part.isdecimal():
            value = value[int(part)]
    return value


def _with_plain_amounts(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value) if value.is_finite() else str(value)
    if isinstance(value, dict):
        return {name: _with_plain_amounts(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_plain_amounts(item) for item in value]
    return value
