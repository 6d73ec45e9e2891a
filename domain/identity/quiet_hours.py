"""The hours in which a user wants quiet, on the user's clock. Pure, but for the zone's rules."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.clock import as_utc
from domain.errors import InvalidData


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of the day to another, over midnight when the end comes first.

    Args:
        start: First quiet minute, local.
        end: First minute that is not quiet any more, local.
        zone: Where the user lives.
    """

    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, start: str, end: str, zone: str) -> Self:
        """Read ``HH:MM``, ``HH:MM`` and an IANA zone.

        Raises:
            InvalidData: One of them is none.
        """
        try:
            found = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidData("timezone", zone, "be an IANA time zone") from None
        return cls(_clock("quiet_from", start), _clock("quiet_until", end), found)

    def end_after(self, instant: datetime) -> datetime | None:
        """Return when the quiet that reigns at an instant ends, UTC; None when it is not quiet.

        In the night when clocks go forward, an end that does not exist comes right after the gap.

        Example:
            >>> night = QuietHours.parse("22:00", "07:00", "America/New_York")
            >>> night.end_after(datetime(2024, 1, 3, 4, tzinfo=UTC)).isoformat()
            '2024-01-03T12:00:00+00:00'
            >>> night.end_after(datetime(2024, 1, 3, 15, tzinfo=UTC)) is None
            True
        """
        at = as_utc(instant)
        today = at.astimezone(self.zone).date()
        for day in (today - timedelta(days=1), today):
            begins = self._at(day, self.start)
            lasts_over_midnight = self.end <= self.start
            ends = self._at(day + timedelta(days=lasts_over_midnight), self.end)
            if self.start != self.end and begins <= at < ends:
                return ends
        return None

    def _at(self, day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, self.zone).astimezone(UTC)


def _clock(field: str, text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").replace(tzinfo=UTC).time()
    except ValueError:
        raise InvalidData(field, text, "be a time of the day, HH:MM") from None
