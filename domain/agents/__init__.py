"""AI agents: who trades, what they say, how they stand, and nof0's JSON in and out.

The names here are those of everyday work; everything else is in the module named for its job.
"""

from domain.agents.analysing import record_analytics
from domain.agents.conversing import NewMessage, add_messages
from domain.agents.models import Agent, Conversation, Message, MessageRole, Standing
from domain.agents.refreshing import Refreshed, refresh_leaderboard

__all__ = [
    "Agent",
    "Conversation",
    "Message",
    "MessageRole",
    "NewMessage",
    "Refreshed",
    "Standing",
    "add_messages",
    "record_analytics",
    "refresh_leaderboard",
]
