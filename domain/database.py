"""`Database`: the units of work with every area's repositories as typed attributes."""

from domain import schema
from domain.agents.repositories import (
    AgentAnalyticsRepository,
    AgentRepository,
    ConversationRepository,
    MessageRepository,
    StandingRepository,
)
from domain.alerts.repositories import AlertEventRepository, AlertRepository
from domain.db.connection import Connections
from domain.db.unit import ReadUnit, UnitOfWork, repository
from domain.identity.repositories import (
    ApiKeyRepository,
    NotificationAddressRepository,
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
    ArchivedBarRepository,
    BarRepository,
    CorporateActionRepository,
    CurrencyRepository,
    DailyBarRepository,
    FxRateRepository,
    InstrumentAliasRepository,
    InstrumentRepository,
    LatestPriceRepository,
    StaleDayRepository,
    TickRepository,
)
from domain.messaging.repositories import (
    FailedDeliveryRepository,
    NotificationRepository,
    OutboxRepository,
    ProcessedMessageRepository,
    ScheduledJobRepository,
)
from domain.news.repositories import (
    ArticleInstrumentRepository,
    ArticleRepository,
    CalendarEventRepository,
    EconomicReleaseRepository,
    EconomicSeriesRepository,
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
    notification_addresses = repository(NotificationAddressRepository)

    currencies = repository(CurrencyRepository)
    instruments = repository(InstrumentRepository)
    instrument_aliases = repository(InstrumentAliasRepository)
    bars = repository(BarRepository)
    archived_bars = repository(ArchivedBarRepository)
    daily_bars = repository(DailyBarRepository)
    stale_days = repository(StaleDayRepository)
    ticks = repository(TickRepository)
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

    outbox = repository(OutboxRepository)
    notifications = repository(NotificationRepository)
    processed_messages = repository(ProcessedMessageRepository)
    failed_deliveries = repository(FailedDeliveryRepository)
    jobs = repository(ScheduledJobRepository)

    agents = repository(AgentRepository)
    agent_analytics = repository(AgentAnalyticsRepository)
    conversations = repository(ConversationRepository)
    messages = repository(MessageRepository)
    leaderboard = repository(StandingRepository)
    alerts = repository(AlertRepository)
    alert_events = repository(AlertEventRepository)

    articles = repository(ArticleRepository)
    article_instruments = repository(ArticleInstrumentRepository)
    calendar_events = repository(CalendarEventRepository)
    economic_series = repository(EconomicSeriesRepository)
    economic_releases = repository(EconomicReleaseRepository)
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
