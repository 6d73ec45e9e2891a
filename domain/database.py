"""`Database`: the units of work with every area's repositories as typed attributes."""

from domain import schema
from domain.db.connection import Connections
from domain.db.unit import ReadUnit, UnitOfWork, repository
from domain.identity.repositories import (
    ApiKeyRepository,
    OAuthTokenRepository,
    UserPreferencesRepository,
    UserRepository,
    UserSessionRepository,
)
from domain.journal.repositories import (
    AttachmentRepository,
    EntryTagRepository,
    EntryTradeRepository,
    JournalEntryRepository,
    SetupRepository,
    TagRepository,
)
from domain.market.repositories import (
    BarRepository,
    CorporateActionRepository,
    CurrencyRepository,
    FxRateRepository,
    InstrumentAliasRepository,
    InstrumentRepository,
    LatestPriceRepository,
)
from domain.research.repositories import (
    AnalysisRepository,
    KnowledgeChunkRepository,
    KnowledgeDocumentRepository,
    MetricRepository,
    ScreenerRepository,
    ScreenerRunRepository,
    WatchlistItemRepository,
    WatchlistRepository,
)
from domain.trading.repositories import (
    CashMovementRepository,
    EquitySnapshotRepository,
    ImportBatchRepository,
    LotClosureRepository,
    LotRepository,
    PortfolioRepository,
    PositionRepository,
    TradeRepository,
)


class Repositories:
    """The repositories of all areas, named by the plural of their model."""

    users = repository(UserRepository)
    user_sessions = repository(UserSessionRepository)
    api_keys = repository(ApiKeyRepository)
    oauth_tokens = repository(OAuthTokenRepository)
    preferences = repository(UserPreferencesRepository)

    currencies = repository(CurrencyRepository)
    instruments = repository(InstrumentRepository)
    instrument_aliases = repository(InstrumentAliasRepository)
    bars = repository(BarRepository)
    latest_prices = repository(LatestPriceRepository)
    fx_rates = repository(FxRateRepository)
    corporate_actions = repository(CorporateActionRepository)

    portfolios = repository(PortfolioRepository)
    trades = repository(TradeRepository)
    positions = repository(PositionRepository)
    lots = repository(LotRepository)
    lot_closures = repository(LotClosureRepository)
    cash_movements = repository(CashMovementRepository)
    import_batches = repository(ImportBatchRepository)
    equity_snapshots = repository(EquitySnapshotRepository)

    journal_entries = repository(JournalEntryRepository)
    setups = repository(SetupRepository)
    tags = repository(TagRepository)
    entry_tags = repository(EntryTagRepository)
    entry_trades = repository(EntryTradeRepository)
    attachments = repository(AttachmentRepository)

    watchlists = repository(WatchlistRepository)
    watchlist_items = repository(WatchlistItemRepository)
    screeners = repository(ScreenerRepository)
    screener_runs = repository(ScreenerRunRepository)
    analyses = repository(AnalysisRepository)
    metrics = repository(MetricRepository)
    knowledge_documents = repository(KnowledgeDocumentRepository)
    knowledge_chunks = repository(KnowledgeChunkRepository)


class Reader(Repositories, ReadUnit):
    """A reading unit with all repositories."""


class Worker(Repositories, UnitOfWork):
    """A writing unit with all repositories."""


class Database(Connections[Reader, Worker]):
    """One database: owns its engines, opens units of work. No singleton, no global.

    Example:
        async with Database() as db:
            async with db.transaction(user=user_id) as unit:
                portfolio = await unit.portfolios.get(portfolio_id)
    """

    reader = Reader
    worker = Worker
    metadata = schema.metadata
