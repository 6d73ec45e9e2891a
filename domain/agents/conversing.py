"""Records what agents say: a sequence without gaps, whoever else is speaking."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, update

from domain.agents.models import Conversation, Message, MessageRole
from domain.clock import as_utc
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData, NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """Something to record.

    Args:
        role: Who speaks.
        content: What is said; may be empty.
        time: When, aware.
        token_count: Tokens as the provider counted them.
    """

    role: MessageRole
    content: str
    time: datetime
    token_count: int | None = None


async def add_messages(
    unit: UnitOfWork, conversation: Conversation, messages: Sequence[NewMessage]
) -> int:
    """Append `messages` in the given order.

    The conversation counts its messages, and counting up locks its row until the end of the
    transaction: two writers get different sequences, and one that rolls back leaves no gap.

    Args:
        unit: An open transaction.
        conversation: Where they were said.
        messages: Any number.

    Returns:
        The sequence of the last message of the conversation.

    Raises:
        InvalidData: A role is none, a time is naive, a text has a NUL, a count is negative.
        NotFound: The conversation is gone, or another tenant's.
    """
    spoken = [_checked(message) for message in messages]
    await unit.flush()
    if not spoken:
        return (await unit[Conversation].get(conversation.id)).message_count
    last = await _count_up(unit, conversation, spoken)
    first = last - len(spoken) + 1
    await unit[Message].insert_many(
        [
            {
                "user_id": conversation.user_id,
                "conversation_id": conversation.id,
                "sequence": sequence,
                "role": message.role,
                "content": message.content,
                "time": message.time,
                "token_count": message.token_count,
            }
            for sequence, message in enumerate(spoken, first)
        ]
    )
    return last


async def _count_up(
    unit: UnitOfWork, conversation: Conversation, spoken: Sequence[NewMessage]
) -> int:
    newest = max(message.time for message in spoken)
    statement = (
        update(Conversation)
        .where(Conversation.id == conversation.id, Conversation.user_id == conversation.user_id)
        .values(
            message_count=Conversation.message_count + len(spoken),
            last_message_at=func.greatest(Conversation.last_message_at, newest),
        )
        .returning(Conversation)
    )
    found = await unit.session.scalars(
        statement,
        execution_options={"populate_existing": True, "synchronize_session": False},
    )
    row = found.first()
    if row is None:
        raise NotFound(f"conversation {conversation.id} was not found")
    return row.message_count


def _checked(message: NewMessage) -> NewMessage:
    if message.role not in set(MessageRole):
        raise InvalidData("role", message.role, f"be one of {', '.join(MessageRole)}")
    if "\x00" in message.content:
        raise InvalidData("content", message.content, "have no NUL")
    if message.token_count is not None and message.token_count < 0:
        raise InvalidData("token_count", message.token_count, "not be negative")
    return NewMessage(
        role=MessageRole(message.role),
        content=message.content,
        time=as_utc(message.time, "time"),
        token_count=message.token_count,
    )
