"""Views of agents: who they are, how they stand, what they said. Figures and words have no edit."""

from collections.abc import Mapping
from typing import Any

from admin.records import RecordView, Related
from admin.translating import gettext, word
from domain.agents.models import Agent, AgentAnalytics, Conversation, Message, Standing
from domain.database import Reader

_CATEGORY = "Agents"


class StandingView(RecordView, model=Standing):
    """The leaderboard."""

    name, name_plural, path = "Standing", "Leaderboard", "leaderboard"
    category = _CATEGORY
    about = "How agents stand, best return first. Made by a refresh from round trips and equity."
    hint = "refresh_leaderboard(unit)"
    columns = (
        "agent",
        "return_pct",
        "equity",
        "currency",
        "sharpe",
        "num_trades",
        "num_wins",
        "num_losses",
        "win_dollars",
        "lose_dollars",
        "valued_at",
    )
    order = (Standing.return_order, Standing.agent_id)
    keys = ("agent_id", "user_id")

    def heading(self, record: Any) -> str:
        """Return ``Standing of Grok``."""
        return gettext("Standing of %(agent)s", agent=record.agent)


class AgentView(RecordView, model=Agent):
    """Agents."""

    name, name_plural, path = "Agent", "Agents", "agents"
    board = "boards/agent.html"
    board_shows = ("leaderboard", "equity")
    category = _CATEGORY
    about = "AI models that trade, one portfolio each."
    hint = "import_nof0(unit, user, files)"
    columns = ("display_name", "slug", "provider", "portfolio", "archived_at")
    order = (Agent.id,)
    is_found_by_name = True
    search = (Agent.slug,)
    search_hint = "Model id begins with…"
    keys = ("portfolio_id", "user_id")
    editable = ("slug", "display_name", "provider", "description", "archived_at")
    creatable = ("user_id", "slug", "display_name", "portfolio_id", "provider", "description")
    is_deletable = True
    related = (
        Related("Standing", "leaderboard", "agent_id", is_shown=True),
        Related("Conversations", "conversations", "agent_id", is_shown=True),
        Related("Analysis", "agent-analytics", "agent_id"),
        Related("Positions", "positions", "", same=("portfolio_id",)),
        Related("Trades", "trades", "", same=("portfolio_id",)),
        Related("Equity", "equity", "", same=("portfolio_id",)),
    )

    async def board_of(self, unit: Reader, record: Any) -> Mapping[str, Any]:
        """Return how it stands."""
        standings = unit.leaderboard
        mine = standings.query(Standing.agent_id == record.id, Standing.user_id == record.user_id)
        return {"standing": await standings.first(mine)}


class ConversationView(RecordView, model=Conversation):
    """Conversations."""

    name, name_plural, path = "Conversation", "Conversations", "conversations"
    category = _CATEGORY
    about = "What was said between agents and those who run them."
    hint = "add_messages(unit, conversation, messages)"
    columns = ("title", "agent", "message_count", "last_message_at", "created_at")
    order = (Conversation.id,)
    keys = ("agent_id", "user_id")
    pickers = ("agent_id",)
    is_deletable = True
    related = (Related("Messages", "messages", "conversation_id", is_shown=True),)


class MessageView(RecordView, model=Message):
    """Messages."""

    name, name_plural, path = "Message", "Messages", "messages"
    category = _CATEGORY
    about = "Messages in the order of their conversation. Said is said: there is no edit."
    columns = ("conversation", "sequence", "role", "content", "time", "token_count")
    prose = ("content",)
    order = (Message.conversation_id, Message.sequence)
    is_newest_first = False
    filters = ("role",)
    keys = ("conversation_id", "user_id")

    def heading(self, record: Any) -> str:
        """Return ``Assistant, message 4 of Orders``."""
        return gettext(
            "%(role)s, message %(number)s of %(conversation)s",
            role=word(record.role).capitalize(),
            number=record.sequence,
            conversation=record.conversation,
        )


class AgentAnalyticsView(RecordView, model=AgentAnalytics):
    """Analyses."""

    name, name_plural, path = "Agent analysis", "Agent analyses", "agent-analytics"
    category = _CATEGORY
    about = "The newest analysis of each agent, as it was delivered."
    columns = ("agent", "updated_at")
    order = (AgentAnalytics.agent_id,)
    keys = ("agent_id", "user_id")

    def heading(self, record: Any) -> str:
        """Return ``Analysis of Grok``."""
        return gettext("Analysis of %(agent)s", agent=record.agent)


VIEWS = (StandingView, AgentView, ConversationView, MessageView, AgentAnalyticsView)
