"""What may be kept of an error: no password, token, secret URL or address. Pure text.

An error that somebody else raised may quote what it was given. Webhook addresses are secrets from
their path on; a server's answer may repeat a key.
"""

import re
from typing import Final

from domain.errors import TradekeepError

LONGEST: Final = 500
"""Characters that are kept."""

_RULES: Final = (
    (
        re.compile(r"(?i)\b([a-z][a-z0-9+.-]*)://(?:[^\s/@]*@)?([^\s/?#'\"<>]+)[^\s'\"<>)]*"),
        r"\1://\2/…",
    ),
    (re.compile(r"(?i)\b(bearer|basic|token|bot)\s+[\w.~+/=-]{6,}"), r"\1 …"),
    (
        re.compile(
            r"(?i)\b([\w-]*(?:password|passwd|secret|token|api[_-]?key|authorization|signature)"
            r"[\w-]*)\b(['\"]?\s*[:=]\s*['\"]?)[^\s'\",;}]+"
        ),
        r"\1\2…",
    ),
    (re.compile(r"\b([\w.+-])[\w.+-]*@([\w-]+(?:\.[\w-]+)+)\b"), r"\1…@\2"),
    (
        re.compile(
            r"(?<![\w-])(?=[\w-]*[A-Za-z])(?=[\w-]*\d)"
            r"(?![0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w-]))[\w-]{24,}"
        ),
        "…",
    ),
)


def redacted(text: str) -> str:
    """Return `text` without what looks like a secret, at most 500 characters.

    Example:
        >>> redacted("POST https://hooks.example.com/T0/secret?k=1 failed for ada@example.com")
        'POST https://hooks.example.com/… failed for a…@example.com'
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text[: LONGEST * 8])
    text = text.replace("\x00", "")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def reason_of(error: BaseException) -> str:
    """Return what may be stored about why something failed: the kind of error and its words.

    Of errors of others the first line alone is kept: SQL and stack traces follow it.
    """
    words = str(error).strip() if isinstance(error, TradekeepError) else _first_line(error)
    name = type(error).__name__
    return redacted(f"{name}: {words}" if words else name)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else ""
