"""Loads the demo into an empty installation; a second call finds it there and does nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from domain.database import Database, Worker
from domain.demo import agents, files, headlines, indicators, intraday, watching
from domain.demo.files import DailyBar
from domain.demo.journaling import load_journal
from domain.demo.researching import load_research
from domain.demo.strategies import Order, crossover, fractional, monthly_saving
from domain.identity.enrolling import create_user
from domain.identity.models import Role, User
from domain.market.ingesting import advance_latest_prices, ingest_bars
from domain.market.models import CorporateAction, CurrencyKind, Instrument
from domain.market.terms import CorporateActionKind, InstrumentKind, Timeframe
from domain.storage import Storage
from domain.trading.adjusting import register_action
from domain.trading.importing.booking import BrokerFile, import_file
from domain.trading.models import Portfolio
from domain.trading.recording import NewTrade, record_trades
from domain.trading.terms import CashKind, CostBasisMethod
from domain.trading.valuing import mark_positions, refresh_equity

USERNAME: Final = "demo"
LAST_DAY: Final = date(2021, 3, 31)

_NAMES: Final = {
    "AAPL": ("Apple Inc.", InstrumentKind.STOCK),
    "GOOG": ("Alphabet Inc. class C", InstrumentKind.STOCK),
    "IBM": ("International Business Machines", InstrumentKind.STOCK),
    "SPY": ("SPDR S&P 500 ETF Trust", InstrumentKind.ETF),
    "USO": ("United States Oil Fund", InstrumentKind.ETF),
    "BTC-USD": ("Bitcoin in US dollars", InstrumentKind.CRYPTO),
}
_CURRENCIES: Final = (
    ("USD", "US dollar", 2, CurrencyKind.FIAT),
    ("EUR", "Euro", 2, CurrencyKind.FIAT),
    ("GBP", "Pound sterling", 2, CurrencyKind.FIAT),
    ("JPY", "Yen", 0, CurrencyKind.FIAT),
    ("BTC", "Bitcoin", 8, CurrencyKind.CRYPTO),
)


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    description: str
    deposit: Decimal
    orders: Sequence[Order]
    currency: str = "USD"
    method: CostBasisMethod = CostBasisMethod.FIFO


async def load_demo(db: Database, console: Console) -> bool:
    """Load something real or plainly invented into every area.

    Objects go to the store of the database's settings.

    Args:
        db: A migrated database.
        console: Where progress is shown.

    Returns:
        False when the demo was there already.
    """
    async with db.read(system="demo") as unit:
        if await unit.users.by_username(USERNAME) is not None:
            return False
    bars = files.bars()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("loading the demo", total=8 + len(_plans(bars)))
        # One transaction: a demo that breaks half-way leaves nothing behind.
        storage = Storage(settings=db.settings)
        async with storage.staged() as staged, db.transaction(system="demo") as unit:
            await _load_market(unit, bars)
            progress.advance(task)
            await _register_splits(unit)
            progress.advance(task)
            user = await create_user(unit, USERNAME, role=Role.TRADER)
            user.name = "Demo trader"
            await _import_sample(unit, user)
            progress.advance(task)
            for plan in _plans(bars):
                await _trade(unit, user, plan)
                progress.advance(task)
            await mark_positions(unit)
            for portfolio in await unit.portfolios.all():
                await refresh_equity(unit, portfolio, until=LAST_DAY)
            await agents.enlist(unit, user, _series(bars))
            progress.advance(task)
            await indicators.load(unit)
            progress.advance(task)
            await watching.load(unit, user, bars, await headlines.load(unit))
            progress.advance(task)
            await load_journal(unit, user)
            progress.advance(task)
            await load_research(unit, staged, user)
            progress.advance(task)
    return True


async def _load_market(unit: Worker, bars: Sequence[DailyBar]) -> None:
    await unit.currencies.upsert_many(
        [
            {"code": code, "name": name, "minor_units": units, "kind": kind}
            for code, name, units, kind in _CURRENCIES
        ],
        key=["code"],
        update=["name", "minor_units", "kind"],
    )
    instruments = [
        unit.instruments.add(
            Instrument(
                symbol=symbol,
                name=name,
                kind=kind,
                quote_currency="USD",
                base_currency="BTC" if kind is InstrumentKind.CRYPTO else None,
                time_zone=None if kind is InstrumentKind.CRYPTO else intraday.NEW_YORK,
            )
        )
        for symbol, (name, kind) in _NAMES.items()
    ]
    await unit.flush()
    ids = {instrument.symbol: instrument.id for instrument in instruments}
    await ingest_bars(unit, [_bar_row(bar, ids[bar.symbol]) for bar in bars], mode="append")
    await intraday.load(unit, ids)
    latest = {bar.symbol: bar for bar in bars}
    await advance_latest_prices(
        unit,
        [
            {
                "instrument_id": ids[symbol],
                "price": bar.close,
                "time": bar.starts_at + timedelta(hours=20),
                "source": "lean",
            }
            for symbol, bar in latest.items()
        ],
    )
    await unit.fx_rates.insert_many(
        [
            {
                "base_currency": "EUR",
                "quote_currency": "USD",
                "on": day,
                "rate": rate,
                "source": "ecb",
            }
            for day, rate in files.euro_rates()
        ]
    )


def _bar_row(bar: DailyBar, instrument_id: object) -> dict[str, Any]:
    return {
        "instrument_id": instrument_id,
        "timeframe": Timeframe.D1,
        "time": bar.starts_at,
        "source": "lean",
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "close": bar.close,
        "volume": bar.volume,
    }


async def _register_splits(unit: Worker) -> None:
    for row in files.splits():
        (instrument,) = await unit.instruments.by_symbol(row["symbol"])
        ex_on = date.fromisoformat(row["ex_on"])
        action = CorporateAction(
            instrument_id=instrument.id,
            kind=CorporateActionKind(row["kind"]),
            ex_on=ex_on,
            effective_at=datetime(ex_on.year, ex_on.month, ex_on.day, 8, tzinfo=UTC),
            source="lean",
            numerator=int(row["numerator"]),
            denominator=int(row["denominator"]),
        )
        await register_action(unit, action)


async def _import_sample(unit: Worker, user: User) -> None:
    portfolio = unit.portfolios.add(
        Portfolio(
            user_id=user.id,
            name="Tastytrade",
            description="Options account, imported from the broker's transaction history",
            broker="tastytrade",
        )
    )
    await unit.flush()
    file = BrokerFile("tastytrade", files.content(files.TASTYTRADE), files.TASTYTRADE)
    await import_file(unit, portfolio, file)


def _plans(bars: Iterable[DailyBar]) -> list[_Plan]:
    series = _series(bars)
    saving = [
        order
        for symbol, budget in (("AAPL", 1500), ("SPY", 2000), ("IBM", 500), ("GOOG", 2500))
        for order in monthly_saving(series[symbol], Decimal(budget))
    ]
    return [
        _Plan(
            "Long-term",
            "Monthly saving plan in four US instruments, through Apple's 4:1 split",
            Decimal(400_000),
            saving,
        ),
        _Plan(
            "Trend",
            "Long and short crude oil and the S&P 500 around the 50-day average",
            Decimal(150_000),
            [*crossover(series["USO"], Decimal(400)), *crossover(series["SPY"], Decimal(100))],
            method=CostBasisMethod.LIFO,
        ),
        _Plan(
            "Bitcoin",
            "Fortnightly fractions with profit taking",
            Decimal(40_000),
            list(fractional(series["BTC-USD"], Decimal(500))),
            method=CostBasisMethod.AVERAGE,
        ),
        _Plan(
            "Euro",
            "A euro investor in US instruments: totals in EUR at the ECB's rates",
            Decimal(120_000),
            list(monthly_saving(series["SPY"][:800], Decimal(1800))),
            currency="EUR",
        ),
        *(
            _Plan(item.slug, item.description, item.deposit, item.orders)
            for item in agents.contestants(series)
        ),
    ]


def _series(bars: Iterable[DailyBar]) -> dict[str, list[DailyBar]]:
    return {
        symbol: [bar for bar in group if bar.day >= date(2016, 1, 1)]
        for symbol, group in groupby(bars, key=lambda bar: bar.symbol)
    }


async def _trade(unit: Worker, user: User, plan: _Plan) -> None:
    portfolio = unit.portfolios.add(
        Portfolio(
            user_id=user.id,
            name=plan.name,
            description=plan.description,
            base_currency=plan.currency,
            cost_basis_method=plan.method,
        )
    )
    await unit.flush()
    symbols = {order.symbol for order in plan.orders}
    instruments = {symbol: (await unit.instruments.by_symbol(symbol))[0] for symbol in symbols}
    trades = [_new_trade(order, instruments, n) for n, order in enumerate(plan.orders)]
    await unit.cash_movements.insert_many([_deposit(user, portfolio, plan)])
    await record_trades(unit, portfolio, trades)


def _deposit(user: User, portfolio: Portfolio, plan: _Plan) -> dict[str, Any]:
    first = min(order.executed_at for order in plan.orders)
    return {
        "user_id": user.id,
        "portfolio_id": portfolio.id,
        "kind": CashKind.DEPOSIT,
        "amount": plan.deposit,
        "currency": "USD",
        "effective_at": first - timedelta(days=1),
        "source": "demo",
        "dedupe_key": "deposit",
        "description": "Opening deposit",
    }


def _new_trade(order: Order, instruments: Mapping[str, Instrument], number: int) -> NewTrade:
    return NewTrade(
        instrument=instruments[order.symbol],
        side=order.side,
        quantity=order.quantity,
        price=order.price,
        executed_at=order.executed_at,
        commission=order.commission,
        fees=order.fees,
        sequence=number,
        source="demo",
        external_id=f"{order.symbol}-{order.executed_at:%Y%m%d}-{number}",
        description=order.note,
    )
