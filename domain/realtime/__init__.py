"""Live data: what happens now, to everybody who wants to know, over one connection a process.

What is here is gone when nobody listens: facts are in PostgreSQL, and every reader can start from
a snapshot. Answers that are kept between changes belong to `domain.cache`.
"""

from domain.realtime.hub import Hub, MemoryHub, RedisHub
from domain.realtime.live import Live, open_live
from domain.realtime.publishing import Publisher, Update
from domain.realtime.quotes import Quote, checked_quote
from domain.realtime.streams import Broadcaster, Consumer, Delivery
from domain.realtime.subscriptions import Gap, Message, Subscription

__all__ = [
    "Broadcaster",
    "Consumer",
    "Delivery",
    "Gap",
    "Hub",
    "Live",
    "MemoryHub",
    "Message",
    "Publisher",
    "Quote",
    "RedisHub",
    "Subscription",
    "Update",
    "checked_quote",
    "open_live",
]
