"""Turns the driver's errors into ours at the border: nobody above knows which driver it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from domain.errors import Unavailable


@contextmanager
def reaching_redis() -> Iterator[None]:
    """Raise `Unavailable` where Redis cannot be reached or refuses a command.

    Raises:
        Unavailable: The message names the kind of error and no value.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis did not do it: {type(error).__name__}") from error
