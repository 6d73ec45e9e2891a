"""The one form of an article's address: two links to one article become one text."""

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from domain.errors import InvalidData

LONGEST: Final = 2_000
_PORTS: Final = {"http": 80, "https": 443}
_TRACKING: Final = re.compile(
    r"utm_.*|mtm_.*|pk_.*|(fb|g|dc|ms|tw|yc)clid|gbraid|wbraid|mc_[ce]id|igshid|_hs(enc|mi)|cmpid"
)
_SAFE_IN_PATH: Final = "/:@!$&'()*+,;=~%-._"


def normalised(url: str) -> str:
    """Return the form in which an address is stored and compared.

    Scheme and host in lower case, no default port, no fragment, no tracking parameters
    (``utm_*``, ``gclid``, ``fbclid`` and their like), no slash at the end of a path, other
    characters percent-encoded. Everything else, the order of parameters too, stays.

    Raises:
        InvalidData: It is no ``http`` or ``https`` address, carries a password, or is longer than
            2,000 characters.

    Example:
        >>> normalised("HTTPS://News.Example:443/a/b/?id=7&utm_source=x#top")
        'https://news.example/a/b?id=7'
    """
    text = url.strip()
    parts = _split(text)
    host = _host(parts, url)
    query = urlencode(
        [
            (name, value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
            if not _TRACKING.fullmatch(name.lower())
        ]
    )
    path = quote(parts.path.rstrip("/"), safe=_SAFE_IN_PATH)
    found = f"{parts.scheme}://{host}{path}" + (f"?{query}" if query else "")
    if len(found) > LONGEST:
        raise InvalidData("url", url, f"be at most {LONGEST} characters")
    return found


def _split(text: str) -> SplitResult:
    rule = "be an address that begins with http:// or https://"
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InvalidData("url", text, rule) from None
    if parts.scheme not in _PORTS or not parts.hostname or "\x00" in text:
        raise InvalidData("url", text, rule)
    if parts.username is not None or parts.password is not None:
        raise InvalidData("url", "…", "carry no user name or password")
    return parts


def _host(parts: SplitResult, url: str) -> str:
    try:
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port
    except ValueError:
        raise InvalidData("url", url, "name a host and a port that can exist") from None
    if not re.fullmatch(r"[a-z0-9.:_-]+", host):
        raise InvalidData("url", url, "name a host")
    host = f"[{host}]" if ":" in host else host
    return host if port in {None, _PORTS[parts.scheme]} else f"{host}:{port}"
