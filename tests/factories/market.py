"""Instruments and currencies."""

from decimal import Decimal
from typing import Any

from domain.database import Worker
from domain.market.models import CurrencyKind, Instrument
from domain.market.terms import InstrumentKind


async def make_currencies(unit: Worker) -> None:
    rows = [
        {"code": code, "name": code, "kind": kind}
        for code, kind in (
            ("USD", CurrencyKind.FIAT),
            ("EUR", CurrencyKind.FIAT),
            ("BTC", CurrencyKind.CRYPTO),
        )
    ]
    await unit.currencies.upsert_many(rows, key=["code"], update=[])


async def make_instrument(unit: Worker, symbol: str = "AAPL", **values: Any) -> Instrument:
    await make_currencies(unit)
    values.setdefault("kind", InstrumentKind.STOCK)
    values.setdefault("quote_currency", "USD")
    instrument = unit.instruments.add(Instrument(symbol=symbol, **values))
    await unit.flush()
    return instrument


async def make_inverse_perpetual(unit: Worker) -> Instrument:
    return await make_instrument(
        unit,
        "XBTUSD",
        kind=InstrumentKind.PERPETUAL,
        is_inverse=True,
        settlement_currency="BTC",
        cash_model="margined",
        multiplier=Decimal(1),
    )
