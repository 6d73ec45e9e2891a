"""Records of the journal and of research, with the values that careless forms destroy."""

from datetime import UTC, date, datetime
from decimal import Decimal

from domain import Database
from domain.journal.attaching import NewFile, attach
from domain.journal.models import JournalEntry
from domain.journal.recording import link_trades, record_entry
from domain.journal.terms import Direction
from domain.research.analysing import save_analysis
from domain.research.ingesting import ingest_document
from domain.research.measuring import NewMetric, insert_metric, insert_metrics
from domain.research.screening import save_screener, save_screener_run
from domain.research.watching import update_watchlist
from domain.storage import Storage
from domain.trading.models import Trade
from tests.factories.journal import make_setup
from tests.factories.research import BagOfWords
from tests.factories.trading import Account

MOMENT = datetime(2024, 3, 15, 14, 30, 15, 123456, tzinfo=UTC)


async def make_journal(db: Database, account: Account) -> None:
    owner, storage = account.user.id, Storage("memory:")
    async with storage.staged() as staged, db.transaction(system="test") as unit:
        setup = await make_setup(unit, owner, "<b>Breakout</b>")
        entry = JournalEntry(
            user_id=owner,
            entry_on=date(2024, 3, 15),
            title="<script>alert(1)</script>",
            portfolio_id=account.portfolio.id,
            instrument_id=account.instrument.id,
            setup_id=setup.id,
            direction=Direction.LONG,
            legs=[{"strike": "180.00"}, None],
            entry_at=MOMENT,
            entry_price=Decimal("190.250000000000000001"),
            planned_entry=Decimal(190),
            planned_stop=Decimal(185),
            planned_target=Decimal(205),
            initial_risk=Decimal(50),
            rating=4,
            satisfied=False,
            thesis="\nfirst\nsecond\n",
            notes="  spaces  ",
        )
        await record_entry(unit, entry, tags=["Earnings"])
        trades = await unit.trades.all(unit.trades.query().order_by(Trade.executed_at))
        await link_trades(unit, entry, trades)
        await attach(unit, staged, entry, NewFile("chart.png", b"\x89PNG", "<i>chart</i>"))


async def make_research(db: Database, account: Account) -> None:
    owner, storage = account.user.id, Storage("memory:")
    async with storage.staged() as staged, db.transaction(system="test") as unit:
        listed = await update_watchlist(unit, "Core", ["AAPL"], user_id=owner)
        listed.items[0].target_price = Decimal("180.500000000000000001")
        listed.items[0].note = "two\nlines"
        screener = await save_screener(
            unit,
            "Weekly",
            "csp",
            {"min": "20.00", "list": [1.5, None]},
            auto_run=True,
            schedule="30 9 * * 1-5",
            timezone="America/New_York",
            notify_channels=["email", "ä"],
            user_id=owner,
        )
        await save_screener_run(unit, screener, [{"symbol": "AAPL"}])
        await save_analysis(
            unit, "AAPL", "chart", {"trend": "<b>up</b>"}, recommendation="select", user_id=owner
        )
        await insert_metric(unit, "vix", Decimal("13.5"), labels={"venue": "cboe"}, time=MOMENT)
        value = NewMetric("portfolio_value", Decimal("4999.5"), {"desk": "1"}, MOMENT)
        await insert_metrics(unit, [value], user_id=owner)
        text = "# Risk\nRisk <b>one</b> percent."
        await ingest_document(unit, staged, "risk.md", text, embedder=BagOfWords())
