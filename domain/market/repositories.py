"""What is asked about markets."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, literal, or_, select, union_all

from domain.db.repository import Repository
from domain.market.models import (
    ArchivedBar,
    Bar,
    CorporateAction,
    Currency,
    DailyBar,
    FxRate,
    Instrument,
    InstrumentAlias,
    LatestPrice,
    StaleDay,
    Tick,
)
from domain.market.terms import Timeframe
from domain.money import exact


class CurrencyRepository(Repository[Currency]):
    """Currencies."""


class InstrumentRepository(Repository[Instrument]):
    """Tradable contracts."""

    async def by_symbol(self, symbol: str) -> Sequence[Instrument]:
        """Return the instruments with this ticker or OSI symbol: several when markets share it."""
        return await self.all(self.query(Instrument.symbol == symbol).order_by(Instrument.id))

    async def with_symbols(self, symbols: Iterable[str]) -> Sequence[Instrument]:
        """Return the instruments that any of these tickers or OSI symbols names."""
        wanted = literal(sorted(set(symbols)), ARRAY(Text()))
        return await self.all(self.query(Instrument.symbol == any_(wanted)).order_by(Instrument.id))


class InstrumentAliasRepository(Repository[InstrumentAlias]):
    """Names that sources give to instruments."""

    async def resolve(self, source: str, symbol: str, at: datetime) -> UUID | None:
        """Return the id of what `source` called `symbol` at the instant `at`, UTC."""
        valid = self.query(
            InstrumentAlias.source == source,
            InstrumentAlias.symbol == symbol,
            InstrumentAlias.valid_from <= at,
            or_(InstrumentAlias.valid_to.is_(None), InstrumentAlias.valid_to > at),
        )
        found = await self.first(valid.order_by(InstrumentAlias.valid_from.desc()))
        return None if found is None else found.instrument_id


class BarRepository(Repository[Bar]):
    """Price bars, raw."""

    async def between(
        self, instrument_id: UUID, timeframe: Timeframe, *, start: datetime, end: datetime
    ) -> Sequence[Bar]:
        """Return bars with ``start <= time < end``, oldest first."""
        inside = self.query(
            Bar.instrument_id == instrument_id,
            Bar.timeframe == timeframe,
            Bar.time >= start,
            Bar.time < end,
        )
        return await self.all(inside.order_by(Bar.time))

    async def closes(
        self, instrument_ids: Iterable[UUID], *, start: datetime, end: datetime
    ) -> Sequence[tuple[UUID, datetime, Decimal]]:
        """Return (instrument, bar start, close) of daily bars, archived ones too, oldest first."""
        idents = list(instrument_ids)
        days = union_all(
            *(
                select(model.instrument_id, model.time.label("time"), model.close).where(
                    model.instrument_id.in_(idents),
                    model.timeframe == Timeframe.D1,
                    model.time >= start,
                    model.time < end,
                )
                for model in (Bar, ArchivedBar)
            )
        )
        statement = days.order_by("time")
        found = await self.session.execute(statement)
        return [(instrument_id, time, close) for instrument_id, time, close in found]


class ArchivedBarRepository(Repository[ArchivedBar]):
    """Price bars that retention moved out of the way."""


class DailyBarRepository(Repository[DailyBar]):
    """Days rolled up from bars."""

    async def between(self, instrument_id: UUID, *, start: date, end: date) -> Sequence[DailyBar]:
        """Return the days with ``start <= on < end``, oldest first; one a source."""
        inside = self.query(
            DailyBar.instrument_id == instrument_id, DailyBar.on >= start, DailyBar.on < end
        )
        return await self.all(inside.order_by(DailyBar.on, DailyBar.source))


class StaleDayRepository(Repository[StaleDay]):
    """Days that wait for their roll-up."""


class TickRepository(Repository[Tick]):
    """Trades and quotes of the market."""

    async def between(
        self, instrument_id: UUID, *, start: datetime, end: datetime
    ) -> Sequence[Tick]:
        """Return ticks with ``start <= time < end``, oldest first."""
        inside = self.query(
            Tick.instrument_id == instrument_id, Tick.time >= start, Tick.time < end
        )
        return await self.all(inside.order_by(Tick.time, Tick.sequence))


class LatestPriceRepository(Repository[LatestPrice]):
    """Newest prices."""


class FxRateRepository(Repository[FxRate]):
    """Daily exchange rates."""

    async def on_or_before(self, base: str, quote: str, day: date) -> Decimal | None:
        """Return quote currency for one unit of base on `day`, or on the last fixing before it.

        Either direction of the pair serves; the inverse of a stored rate is exact to 60 digits.
        """
        if base == quote:
            return Decimal(1)
        pairs = or_(
            (FxRate.base_currency == base) & (FxRate.quote_currency == quote),
            (FxRate.base_currency == quote) & (FxRate.quote_currency == base),
        )
        found = await self.first(self.query(pairs, FxRate.on <= day).order_by(FxRate.on.desc()))
        if found is None:
            return None
        if found.base_currency == base:
            return found.rate
        with exact():
            return Decimal(1) / found.rate

    async def history(self, base: str, quote: str) -> Sequence[tuple[date, Decimal]]:
        """Return (day, quote currency for one unit of base) of all fixings, oldest first."""
        pairs = or_(
            (FxRate.base_currency == base) & (FxRate.quote_currency == quote),
            (FxRate.base_currency == quote) & (FxRate.quote_currency == base),
        )
        fixings = await self.all(self.query(pairs).order_by(FxRate.on))
        with exact():
            return [
                (fixing.on, fixing.rate if fixing.base_currency == base else 1 / fixing.rate)
                for fixing in fixings
            ]


class CorporateActionRepository(Repository[CorporateAction]):
    """Splits, dividends, mergers, spin-offs, renamings."""

    async def of_instruments(self, instrument_ids: Iterable[UUID]) -> Sequence[CorporateAction]:
        """Return the actions of these instruments in the order in which they took effect."""
        statement = self.query(CorporateAction.instrument_id.in_(list(instrument_ids)))
        return await self.all(statement.order_by(CorporateAction.effective_at, CorporateAction.id))
