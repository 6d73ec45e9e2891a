"""Which keys are allowed. Pure; the same rules on every store, so that what works on one moves.

    knowledge/options/strategies.md       documents of the knowledge base
    users/<user id>/exports/...           what a user took out
    users/<user id>/uploads/...           what a user brought
    embeddings/...                        vectors kept as files
    backups/...                           dumps of the database

A segment is what a file system, an S3 store and a browser agree on: letters and digits of any
script and some punctuation, in Unicode's compatibility form. That leaves out every look-alike of a
dot or slash, percent signs, backslashes, control characters and NUL.
"""

import re
import unicodedata
from typing import Final
from uuid import UUID

from domain.errors import InvalidData

ROOTS: Final = ("knowledge", "embeddings", "backups")
"""First segments of keys that belong to no user."""
USERS: Final = "users"
USER_FOLDERS: Final = ("exports", "uploads")

_PUNCTUATION: Final = frozenset(" !$&'()+,-.;=@_~")
_LONGEST_KEY: Final = 1_024  # bytes, S3's limit
_LONGEST_SEGMENT: Final = 240  # bytes; a folder's limit is 255, and a file being written needs some
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def checked_key(key: str) -> str:
    """Return `key` when it names an object.

    Raises:
        InvalidData: It is not built as it must be, or lies outside the known folders.

    Example:
        >>> checked_key("knowledge/options/strategies.md")
        'knowledge/options/strategies.md'
    """
    segments = _segments(key)
    first = segments[0]
    if first == USERS:
        is_known = len(segments) > 3 and _is_user_folder(segments)  # noqa: PLR2004 - and a name
    else:
        is_known = first in ROOTS and len(segments) > 1
    if not is_known:
        raise InvalidData("key", key, f"lie in {', '.join(ROOTS)} or a user's exports or uploads")
    return key


def checked_name(name: str) -> str:
    """Return `name` when it may stand below a folder; it may have several segments.

    Raises:
        InvalidData: It is not built as it must be.
    """
    _segments(name)
    return name


def user_prefix(user_id: UUID) -> str:
    """Return the folder of a user.

    Raises:
        InvalidData: `user_id` is not a UUID.
    """
    if not isinstance(user_id, UUID):
        raise InvalidData("user", user_id, "be a UUID")
    return f"{USERS}/{user_id}"


def _segments(key: str) -> tuple[str, ...]:
    if not isinstance(key, str) or not key:
        raise InvalidData("key", key, "be a text of one character or more")
    if len(key.encode(errors="surrogatepass")) > _LONGEST_KEY:
        raise InvalidData("key", key, f"be at most {_LONGEST_KEY} bytes long")
    segments = tuple(key.split("/"))
    for segment in segments:
        _check_segment(key, segment)
    return segments


def _check_segment(key: str, segment: str) -> None:
    if not segment:
        raise InvalidData("key", key, "have no empty segment and no slash at either end")
    if segment[0] == " " or segment[-1] in {" ", "."} or segment == ".":
        raise InvalidData(
            "key", key, "have no segment that begins or ends with a space, or ends with a dot"
        )
    if not all(_is_allowed(character) for character in segment):
        raise InvalidData("key", key, "have letters, digits, spaces and !$&'()+,-.;=@_~ only")
    if unicodedata.normalize("NFKC", segment) != segment:
        raise InvalidData("key", key, "be written in Unicode's compatibility form (NFKC)")
    if len(segment.encode()) > _LONGEST_SEGMENT:
        raise InvalidData("key", key, f"have segments of at most {_LONGEST_SEGMENT} bytes")


def _is_allowed(character: str) -> bool:
    return character in _PUNCTUATION or unicodedata.category(character)[0] in "LMN"


def _is_user_folder(segments: tuple[str, ...]) -> bool:
    return _UUID.fullmatch(segments[1]) is not None and segments[2] in USER_FOLDERS
