"""Finds the instruments that a file names, and lists those that nobody knew."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import tuple_

from domain.db.bulk import insert_new
from domain.db.unit import UnitOfWork
from domain.market.models import Currency, CurrencyKind, Instrument
from domain.market.terms import InstrumentKind
from domain.trading.importing.records import InstrumentSpec
from domain.trading.terms import CashModel

# Brokers call all of these "equity".
_SHARES: Final = (InstrumentKind.STOCK, InstrumentKind.ETF, InstrumentKind.FUND)
_MARGINED: Final = frozenset({InstrumentKind.FUTURE, InstrumentKind.PERPETUAL, InstrumentKind.CFD})
_CODE_LENGTH: Final = 3


class Listing:
    """The instruments of one import, by what the file calls them.

    Args:
        unit: The import's transaction.
    """

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit
        self._known: dict[tuple[str, InstrumentKind, str], Instrument] = {}

    def __getitem__(self, spec: InstrumentSpec) -> Instrument:
        return self._known[_name(spec)]

    async def load(self, specs: Iterable[InstrumentSpec]) -> None:
        """Find every instrument of `specs`; insert the missing ones with their underlyings."""
        wanted = {_name(spec): spec for spec in specs}
        for spec in list(wanted.values()):
            if spec.option is not None:
                parent = _underlying(spec)
                wanted.setdefault(_name(parent), parent)
        await self._insert_currencies({spec.currency for spec in wanted.values()})
        parents = [spec for spec in wanted.values() if spec.option is None]
        derived = [spec for spec in wanted.values() if spec.option is not None]
        await self._find_or_insert(parents)
        await self._find_or_insert(derived)

    async def _insert_currencies(self, codes: set[str]) -> None:
        rows = [
            {
                "code": code,
                "name": code,
                "kind": CurrencyKind.FIAT if len(code) == _CODE_LENGTH else CurrencyKind.CRYPTO,
            }
            for code in sorted(codes)
        ]
        await insert_new(self._unit.session, Currency, rows, key=("code",))

    async def _find_or_insert(self, specs: list[InstrumentSpec]) -> None:
        await self._find(specs)
        missing = [spec for spec in specs if _name(spec) not in self._known]
        if not missing:
            return
        # Two imports may list the same instrument at once: whoever comes second finds it.
        rows = [self._row(spec) for spec in missing]
        await insert_new(self._unit.session, Instrument, rows, key=None)
        await self._find(missing)

    async def _find(self, specs: list[InstrumentSpec]) -> None:
        if not specs:
            return
        names = tuple_(Instrument.symbol, Instrument.quote_currency)
        wanted = [(spec.symbol, spec.currency) for spec in specs]
        instruments = self._unit[Instrument]
        found = await instruments.all(
            instruments.query(names.in_(wanted)).order_by(
                Instrument.exchange.asc().nulls_first(), Instrument.id
            )
        )
        for spec in specs:
            for instrument in found:
                if _is_same(spec, instrument):
                    self._known.setdefault(_name(spec), instrument)

    def _row(self, spec: InstrumentSpec) -> dict[str, Any]:
        terms = spec.option
        is_margined = spec.kind in _MARGINED
        return {
            "symbol": spec.symbol,
            "kind": spec.kind,
            "quote_currency": spec.currency,
            "name": spec.name,
            "isin": spec.isin,
            "multiplier": spec.multiplier,
            "cash_model": str(CashModel.MARGINED if is_margined else CashModel.UPFRONT),
            "underlying_id": self._underlying_id(spec),
            "option_root": terms.root if terms and spec.kind is InstrumentKind.OPTION else None,
            "option_type": terms.option_type
            if terms and spec.kind is InstrumentKind.OPTION
            else None,
            "strike": terms.strike if terms else None,
            "expires_on": terms.expiration if terms else None,
        }

    def _underlying_id(self, spec: InstrumentSpec) -> UUID | None:
        return None if spec.option is None else self._known[_name(_underlying(spec))].id


def _name(spec: InstrumentSpec) -> tuple[str, InstrumentKind, str]:
    return (spec.symbol, spec.kind, spec.currency)


def _underlying(spec: InstrumentSpec) -> InstrumentSpec:
    assert spec.option is not None  # noqa: S101 - callers ask for options only
    is_future = spec.kind is InstrumentKind.FUTURE_OPTION
    return InstrumentSpec(
        kind=InstrumentKind.FUTURE if is_future else InstrumentKind.STOCK,
        symbol=spec.option.underlying,
        currency=spec.currency,
        multiplier=spec.multiplier if is_future else Decimal(1),
    )


def _is_same(spec: InstrumentSpec, instrument: Instrument) -> bool:
    if (instrument.symbol, instrument.quote_currency) != (spec.symbol, spec.currency):
        return False
    if spec.kind in _SHARES:
        return instrument.kind in _SHARES
    return instrument.kind is spec.kind
