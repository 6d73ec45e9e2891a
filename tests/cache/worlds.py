"""Two users with everything that cached answers are about, and what is kept of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import event

from domain import Database
from domain.agents import cached as agents
from domain.agents.analysing import record_analytics
from domain.agents.conversing import NewMessage, add_messages
from domain.agents.models import Agent, Conversation, MessageRole
from domain.agents.refreshing import refresh_leaderboard
from domain.cache import CachedRead
from domain.cache.cache import _scope
from domain.cache.declaring import DECLARED
from domain.identity import cached as identity
from domain.identity.api_keys import create_api_key
from domain.identity.models import Effect, Role, RolePermission, User
from domain.identity.signing_in import Lifetime, Visitor, open_session, token_hash
from domain.market import cached as market
from domain.market.ingesting import advance_latest_prices
from domain.market.models import Instrument
from domain.market.terms import InstrumentKind, OptionType
from domain.research import cached as research
from domain.research.analysing import save_analysis
from domain.trading import cached as trading
from domain.trading.models import Portfolio
from domain.trading.recording import record_trade
from domain.trading.terms import Side
from tests.factories.agents import make_agent, make_conversation
from tests.factories.identity import make_user
from tests.factories.market import make_instrument
from tests.factories.trading import Account, make_portfolio

OPENED = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
EXPIRY = date(2026, 6, 19)
LIFETIME = Lifetime(idle=timedelta(minutes=30), absolute=timedelta(hours=12))


@dataclass
class Trader:
    """A user who has one of everything."""

    user: User
    portfolio: Portfolio
    agent: Agent
    conversation: Conversation
    token: str
    secret: str

    @property
    def id(self) -> UUID:
        return self.user.id


@dataclass(frozen=True)
class Answer:
    """One declared answer for certain parameters."""

    db: Database
    read: CachedRead[Any, Any]
    args: tuple[Any, ...]
    user: UUID | None

    @property
    def given(self) -> dict[str, Any]:
        return self.read.bind(self.user, self.args, {})

    async def cached(self) -> Any:
        return await self.db.cached(user=self.user).get(self.read, *self.args)

    async def plain(self) -> Any:
        async with self.db.loading(_scope(self.read, self.given)) as unit:
            return await self.read.load(unit, *self.args)

    async def is_kept(self) -> bool:
        return await self.db.cache.peek(self.read, self.given) is not None

    async def keep(self) -> Any:
        """Read until it is kept: writers that just ended may still be in its way."""
        for _ in range(200):
            value = await self.cached()
            if await self.is_kept():
                return value
        raise AssertionError(f"{self.read.name} is never kept")


@dataclass
class World:
    """What the answers are about."""

    db: Database
    apple: Instrument
    other: Instrument
    option: Instrument
    ada: Trader
    bob: Trader

    def answer(self, read: CachedRead[Any, Any], *args: Any, of: Trader | None = None) -> Answer:
        is_owned = read.parameters[:1] == ("user_id",) and read.audience == "owner"
        return Answer(self.db, read, args, (of or self.ada).id if is_owned else None)

    def answers(self, of: Trader) -> dict[str, Answer]:
        """Return every declared answer of the product, for one trader."""
        parameters: list[tuple[CachedRead[Any, Any], tuple[Any, ...]]] = [
            (identity.account, (of.id,)),
            (identity.login, (token_hash(of.token),)),
            (identity.api_key, (token_hash(of.secret),)),
            (identity.role_rules, (Role.VIEWER,)),
            (market.instrument, (self.apple.id,)),
            (market.instruments_named, (self.apple.symbol,)),
            (market.company_facts, (self.apple.id,)),
            (market.quote, (self.apple.id,)),
            (market.option_chain, (self.apple.id, EXPIRY)),
            (trading.portfolio_ledger, (of.portfolio.id,)),
            (trading.open_positions, (of.portfolio.id,)),
            (trading.recent_trades, (of.portfolio.id,)),
            (research.latest_analysis, (self.apple.id, "chart")),
            (agents.agent, (of.agent.id,)),
            (agents.agent_named, (of.agent.slug,)),
            (agents.leaderboard, ()),
            (agents.track_record, (of.portfolio.id,)),
            (agents.analytics, (of.agent.id,)),
            (agents.conversations, (of.agent.id,)),
            (agents.conversation, (of.conversation.id,)),
        ]
        return {read.name: self.answer(read, *args, of=of) for read, args in parameters}

    def account(self, of: Trader) -> Account:
        return Account(self.db, of.user, of.portfolio, self.apple)


async def make_world(db: Database) -> World:
    async with db.transaction(system="test") as unit:
        apple = await make_instrument(unit, "AAPL", name="Apple", details={"sector": "Tech"})
        other = await make_instrument(unit, "MSFT")
        option = await make_instrument(
            unit,
            "AAPL  260619C00250000",
            kind=InstrumentKind.OPTION,
            underlying_id=apple.id,
            option_root="AAPL",
            option_type=OptionType.CALL,
            strike=Decimal(250),
            expires_on=EXPIRY,
            multiplier=Decimal(100),
        )
        unit.role_permissions.add(
            RolePermission(role=Role.VIEWER, resource="lots", action="read", effect=Effect.DENY)
        )
        prices = [(apple, "187.25"), (other, "410.5"), (option, "12.4")]
        await advance_latest_prices(
            unit,
            [
                {
                    "instrument_id": item.id,
                    "price": Decimal(price),
                    "time": OPENED,
                    "source": "feed",
                }
                for item, price in prices
            ],
        )
    traders = [await _make_trader(db, apple, name) for name in ("ada", "bob")]
    return World(db, apple, other, option, *traders)


async def _make_trader(db: Database, instrument: Instrument, name: str) -> Trader:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit, name)
        portfolio = await make_portfolio(unit, user)
        token = await open_session(unit, user, LIFETIME, Visitor(ip="192.0.2.7"))
        _, secret = await create_api_key(unit, user, "bot", permissions=["trade"])
        account = Account(db, user, portfolio, instrument)
        agent = await make_agent(unit, account, f"{name}-model")
        conversation = await make_conversation(unit, agent, title="First words")
    async with db.transaction(user=user.id) as unit:
        await record_trade(
            unit,
            portfolio,
            instrument,
            side=Side.BUY,
            quantity=Decimal(10),
            price=Decimal("180.10"),
            executed_at=OPENED,
            fees=Decimal("1.25"),
        )
        await unit.equity_snapshots.insert_many([snapshot(portfolio, day) for day in range(3)])
        await refresh_leaderboard(unit)
        figures = {"fees": Decimal("12.50"), "signals": [1, 2]}
        await record_analytics(unit, agent, figures, updated_at=OPENED)
        await add_messages(unit, conversation, [said("buy")])
        await save_analysis(unit, instrument, "chart", {"trend": "up"}, confidence=Decimal("0.9"))
    return Trader(user, portfolio, agent, conversation, token, secret)


def said(content: str) -> NewMessage:
    return NewMessage(role=MessageRole.ASSISTANT, content=content, time=OPENED)


def snapshot(portfolio: Portfolio, day: int, equity: str = "10000") -> dict[str, Any]:
    return {
        "user_id": portfolio.user_id,
        "portfolio_id": portfolio.id,
        "time": OPENED + timedelta(days=day),
        "currency": "USD",
        "equity": Decimal(equity) + day,
        "cash": Decimal(equity) + day,
        "position_value": Decimal(0),
        "realized_pnl": Decimal(0),
        "unrealized_pnl": Decimal(0),
        "net_contributions": Decimal(10_000),
    }


@contextmanager
def statements(db: Database) -> Iterator[list[str]]:
    """Collect the SQL that all engines of `db` run."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        seen.append(sql)

    engines = [engine.sync_engine for engine in (db.engine, db.read_engine, db._load) if engine]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


def of_the_product() -> dict[str, CachedRead[Any, Any]]:
    """Return the answers that the areas declare; tests declare others."""
    return {
        name: read for name, read in DECLARED.items() if read.load.__module__.startswith("domain.")
    }
