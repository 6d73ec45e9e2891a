"""When markets are open: trading calendars as lists of sessions.

Exchange calendars come from the library exchange_calendars (``pip install tradekeep[calendars]``),
sessions of your own from anything that can list them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from domain.errors import ConfigurationError, InvalidData


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day of a market.

    Args:
        on: Its date, as the market calls it.
        opens_at: First instant of trading, UTC.
        closes_at: End of trading, exclusive, UTC.
    """

    on: date
    opens_at: datetime
    closes_at: datetime


class TradingCalendar(Protocol):
    """Knows when a market trades."""

    def sessions(self, start: date, end: date) -> Sequence[Session]:
        """Return the sessions with ``start <= on < end``, in order."""
        ...


class AlwaysOpen:
    """A market that never closes: every UTC day is a session, as in crypto."""

    def sessions(self, start: date, end: date) -> Sequence[Session]:
        """Return one session a UTC day."""
        opens = datetime.combine(start, time(), UTC)
        day = timedelta(days=1)
        count = max((end - start).days, 0)
        return [
            Session(start + number * day, opens + number * day, opens + (number + 1) * day)
            for number in range(count)
        ]


class ListedSessions:
    """A market whose sessions are given one by one.

    Args:
        sessions: In any order.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sorted(sessions, key=lambda session: session.on)

    def sessions(self, start: date, end: date) -> Sequence[Session]:
        """Return the given sessions with ``start <= on < end``."""
        return [session for session in self._sessions if start <= session.on < end]


class ExchangeCalendar:
    """The calendar of an exchange, from the library exchange_calendars.

    Args:
        code: Its ISO 10383 market identifier, for example ``XNYS``, or the library's own name
            (``CMES``, ``us_futures``).

    Raises:
        ConfigurationError: The library is not installed.
        InvalidData: The library knows no such calendar.
    """

    def __init__(self, code: str) -> None:
        try:
            import exchange_calendars  # noqa: PLC0415 - an extra: only who asks for it pays for it
        except ImportError as error:
            raise ConfigurationError(
                "exchange calendars need the extra: pip install tradekeep[calendars]"
            ) from error
        known = exchange_calendars.get_calendar_names()
        if code not in known:
            raise InvalidData("calendar", code, "be a calendar that exchange_calendars knows")
        self._library = exchange_calendars
        self.code = code

    def sessions(self, start: date, end: date) -> Sequence[Session]:
        """Return the exchange's sessions with ``start <= on < end``.

        Raises:
            InvalidData: The library does not know the exchange at that time.
        """
        if start >= end:
            return []
        # The library keeps 20 years unless told otherwise, and wants a session inside.
        margin = timedelta(days=14)
        try:
            calendar = self._library.get_calendar(self.code, start=start - margin, end=end + margin)
        except ValueError as error:
            raise InvalidData("start", start, f"lie in the time that {self.code} covers") from error
        table = calendar.schedule.loc[str(start) : str(end - timedelta(days=1))]
        return [
            Session(on.date(), opens.to_pydatetime(), closes.to_pydatetime())
            for on, opens, closes in zip(table.index, table["open"], table["close"], strict=True)
        ]
