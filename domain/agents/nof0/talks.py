"""Books nof0's conversations: each once, and what was said since the last import."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256

from sqlalchemy.dialects.postgresql import insert

from domain.agents.conversing import add_messages
from domain.agents.models import Agent, Conversation, Message
from domain.agents.nof0.records import Talk
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData


async def book_talks(unit: UnitOfWork, agents: Mapping[str, Agent], talks: Sequence[Talk]) -> int:
    """Append the messages that are not stored yet; return how many that were."""
    added = 0
    counts: defaultdict[str, int] = defaultdict(int)
    for talk in talks:
        if talk.messages:
            name = _talk_name(talk)
            counts[name] += 1
            external_id = f"nof0:{name}:{counts[name]}"
            added += await _book_talk(unit, agents[talk.model], talk, external_id)
    return added


def _talk_name(talk: Talk) -> str:
    """Return what tells conversations apart: nof0 gives them no id, so their first message does."""
    first = talk.messages[0]
    content = f"{talk.model}|{first.role}|{first.time.isoformat()}|{first.content}"
    return sha256(content.encode(errors="surrogatepass")).hexdigest()[:32]


async def _book_talk(unit: UnitOfWork, agent: Agent, talk: Talk, external_id: str) -> int:
    made = insert(Conversation).values(
        user_id=agent.user_id, agent_id=agent.id, external_id=external_id
    )
    await unit.session.execute(made.on_conflict_do_nothing())
    wanted = unit[Conversation].query(
        Conversation.agent_id == agent.id, Conversation.external_id == external_id
    )
    # Locked before its messages are read: a second import waits and then finds them.
    conversation = await unit[Conversation].one(
        wanted.with_for_update(of=Conversation).execution_options(populate_existing=True)
    )
    known = await unit[Message].all(
        unit[Message].query(Message.conversation_id == conversation.id).order_by(Message.sequence)
    )
    for stored, message in zip(known, talk.messages, strict=False):
        if (stored.role, stored.content) != (message.role, message.content):
            raise InvalidData(
                f"conversations.json: message {stored.sequence} of {agent.slug}",
                message.content,
                "be what was imported before; a conversation only grows",
            )
    fresh = talk.messages[len(known) :]
    await add_messages(unit, conversation, fresh)
    return len(fresh)
