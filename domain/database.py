"""`Database`: the units of work with every area's repositories, and the cache over them."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Self
from uuid import UUID

from domain import schema
from domain.agents import cached as agents
from domain.agents.repositories import (
    AgentAnalyticsRepository,
    AgentRepository,
    ConversationRepository,
    MessageRepository,
    StandingRepository,
)
from domain.alerts.repositories import AlertEventRepository, AlertRepository
from domain.audit.repositories import AuditEntryRepository, SealRepository
from domain.cache import Cache, CachedReader, Rows, answer
from domain.cache.client import MEMORY, Address, parse_redis_url
from domain.cache.declaring import also_stale_by
from domain.cache.embedded import EmbeddedValkey
from domain.cache.reading import CACHE
from domain.db.connection import Connections
from domain.db.scope import Scope
from domain.db.unit import ReadUnit, Unit, UnitOfWork, repository
from domain.db.written import WRITES
from domain.identity import cached as identity
from domain.identity.repositories import (
    ApiKeyRepository,
    BulkItemRepository,
    BulkRunRepository,
    ExternalIdentityRepository,
    NotificationAddressRepository,
    OAuthTokenRepository,
    RecoveryCodeRepository,
    RolePermissionRepository,
    SavedViewRepository,
    SecondFactorRepository,
    StaffTenantRepository,
    TableImportRepository,
    TableImportRowRepository,
    TicketRepository,
    UserPreferencesRepository,
    UserRepository,
    UserSessionRepository,
)
from domain.identity.signing_in import Lifetime
from domain.journal.repositories import (
    AttachmentRepository,
    EntryTagRepository,
    EntryTradeRepository,
    JournalEntryRepository,
    SetupRepository,
    TagRepository,
)
from domain.market import cached as market
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
from domain.news.models import CalendarEvent, EconomicRelease
from domain.news.repositories import (
    ArticleInstrumentRepository,
    ArticleRepository,
    CalendarEventRepository,
    EconomicReleaseRepository,
    EconomicSeriesRepository,
)
from domain.research import cached as research
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
from domain.trading import cached as trading
from domain.trading import overview
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


class Answers(CachedReader):
    """The cached answers of all areas.

    What begins with ``answer`` is cached as it is; the methods put cached answers together.
    """

    account = answer(identity.account)
    login = answer(identity.login)
    api_key = answer(identity.api_key)
    role_rules = answer(identity.role_rules)

    instrument = answer(market.instrument)
    instruments_named = answer(market.instruments_named)
    company_facts = answer(market.company_facts)
    quote = answer(market.quote)
    option_chain = answer(market.option_chain)

    portfolio_ledger = answer(trading.portfolio_ledger)
    open_positions = answer(trading.open_positions)
    recent_trades = answer(trading.recent_trades)

    latest_analysis = answer(research.latest_analysis)

    agent = answer(agents.agent)
    agent_named = answer(agents.agent_named)
    leaderboard = answer(agents.leaderboard)
    track_record = answer(agents.track_record)
    analytics = answer(agents.analytics)
    conversations = answer(agents.conversations)
    conversation = answer(agents.conversation)

    async def account_of_session(self, token: str, lifetime: Lifetime) -> identity.Account | None:
        """Return the active account of a live login, or None; does not note the use."""
        return await identity.account_of_session(self, token, lifetime)

    async def caller_of_api_key(self, secret: str) -> identity.Caller | None:
        """Return who calls with a live API key, or None; does not note the use."""
        return await identity.caller_of_api_key(self, secret)

    async def quotes(self, instruments: Iterable[UUID]) -> dict[UUID, market.Quote]:
        """Return the newest prices of instruments that have one."""
        return await market.quotes(self, instruments)

    async def quote_of_symbol(self, symbol: str) -> market.Quote | None:
        """Return the newest price of the instrument with this ticker, or None.

        Raises:
            MultipleFound: Several instruments that are priced share the ticker.
        """
        return await market.quote_of_symbol(self, symbol)

    async def quoted_chain(
        self, underlying_id: UUID, expires_on: date
    ) -> tuple[market.QuotedOption, ...]:
        """Return the options that expire on one day with their newest prices."""
        return await market.quoted_chain(self, underlying_id, expires_on)

    async def portfolio_overview(self, portfolio_id: UUID) -> overview.PortfolioOverview | None:
        """Return what a portfolio holds and what it is worth now, or None."""
        return await overview.portfolio_overview(self, portfolio_id)

    async def valued_positions(self, portfolio_id: UUID) -> tuple[overview.ValuedPosition, ...]:
        """Return the open positions of a portfolio at the newest prices."""
        return await overview.valued_positions(self, portfolio_id)

    async def latest_analysis_of_symbol(
        self, symbol: str, analysis_type: str
    ) -> research.AnalysisFacts | None:
        """Return the newest analysis of one type of whatever has this ticker, or None."""
        return await research.latest_analysis_of_symbol(self, symbol, analysis_type)

    async def since_inception(self, agent_id: UUID) -> tuple[agents.RecordPoint, ...]:
        """Return the track record of an agent; nothing for an unknown one."""
        return await agents.since_inception(self, agent_id)


# News makes conclusions stale: an event of an issuer those about it, a release all of them.
also_stale_by(market.company_facts, Rows(CalendarEvent, instrument_id="instrument_id"))
also_stale_by(
    research.latest_analysis,
    Rows(CalendarEvent, instrument_id="instrument_id"),
    Rows(EconomicRelease),
)


class Repositories(Unit):
    """The repositories of all areas, named by the plural of their model."""

    @property
    def cached(self) -> Answers:
        """The cached answers, for this unit's user; it sees its own uncommitted writes."""
        return Answers.of(self)

    users = repository(UserRepository)
    staff_tenants = repository(StaffTenantRepository)
    user_sessions = repository(UserSessionRepository)
    api_keys = repository(ApiKeyRepository)
    oauth_tokens = repository(OAuthTokenRepository)
    preferences = repository(UserPreferencesRepository)
    saved_views = repository(SavedViewRepository)
    table_imports = repository(TableImportRepository)
    table_import_rows = repository(TableImportRowRepository)
    bulk_runs = repository(BulkRunRepository)
    bulk_items = repository(BulkItemRepository)
    notification_addresses = repository(NotificationAddressRepository)
    second_factors = repository(SecondFactorRepository)
    recovery_codes = repository(RecoveryCodeRepository)
    external_identities = repository(ExternalIdentityRepository)
    tickets = repository(TicketRepository)
    role_permissions = repository(RolePermissionRepository)

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

    audit_entries = repository(AuditEntryRepository)
    seals = repository(SealRepository)

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
    """One database and its cache: owns its engines, opens units of work. No singleton, no global.

    Answers are cached in the Redis of the settings. Without one, a database of our own brings a
    Valkey of its own, and another one is not cached: two processes would not know of each other.

    Example:
        async with Database() as db:
            async with db.transaction(user=user_id) as unit:
                portfolio = await unit.portfolios.get(portfolio_id)
    """

    reader = Reader
    worker = Worker
    metadata = schema.metadata

    cache: Cache
    redis_address: Address | None
    """Where Redis is, for live data too; None: there is none."""

    async def __aenter__(self) -> Self:
        """Start the embedded servers if needed and build engines and cache."""
        await super().__aenter__()
        try:
            self._valkey: EmbeddedValkey | None = None
            self.redis_address = await self._redis()
            self.cache = Cache(self.redis_address, self.settings, self).open(self.engine)
        except BaseException:
            await super().__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the cache and the pools and leave the embedded servers."""
        await self.cache.aclose()
        await super().__aexit__()
        if self._valkey is not None:
            await self._valkey.aclose()

    def cached(self, *, user: UUID | None = None) -> Answers:
        """Return the cached answers, for a user or for nobody.

        Example:
            overview = await db.cached(user=user_id).portfolio_overview(portfolio_id)
        """
        return Answers(self.cache, user)

    def session_info(self, scope: Scope) -> dict[str, Any]:
        """Return what every session carries: its scope, the cache, and who watches its writes."""
        info = super().session_info(scope) | {CACHE: self.cache}
        if self.cache.is_kept:
            info[WRITES] = self.cache.invalidation.new_writer()
        return info

    async def _redis(self) -> Address | None:
        if configured := self.settings.redis_url:
            return parse_redis_url(configured.get_secret_value())
        if not self.is_embedded:
            return None
        if not EmbeddedValkey.is_available():
            return Address(MEMORY)
        self._valkey = EmbeddedValkey(self.settings.data_dir / "valkey")
        return parse_redis_url(await self._valkey.astart())
