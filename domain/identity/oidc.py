"""OpenID Connect: logging in with an account at an identity provider.

The authorization code flow with PKCE. This file speaks to the provider and checks what it says;
whose account it is here is `domain.identity.linking`. Needs ``tradekeep[oidc]``.

Source: OpenID Connect Core 1.0 section 3.1, RFC 7636 (PKCE), RFC 9207 (issuer in the answer).
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx2

from domain.clock import now
from domain.errors import ConfigurationError
from domain.settings import Settings

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
)  # fmt: skip
"""Signatures that are accepted: with a key that only the provider has."""

FLOW_SECONDS: Final = 600
"""How long people may take at the provider."""

PURPOSES: Final = ("login", "link")
"""What a flow may be for."""

_DIGITS: Final = 12
_SKEW: Final = 60
"""How far the provider's clock may be off [s]."""
_FRESH: Final = 3_600.0
_PAUSE: Final = 60.0
_TIMEOUT: Final = httpx2.Timeout(10.0)
_LARGEST: Final = 512_000
_NOT_INSTALLED: Final = (
    "TRADEKEEP_OIDC_ISSUER is set, and the library for it is missing: install tradekeep[oidc]"
)


class OidcRefused(Exception):
    """The provider did not prove who somebody is.

    Args:
        reason: Why, for the log; nothing of what was sent.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Flow:
    """One way to the provider and back, kept by the browser that goes it.

    Everything that must not be guessed follows from the cookie's text: whoever does not have the
    cookie can neither finish the flow nor have begun it.

    Args:
        cookie: Its text: when it began, a random part, what it is for, where to go afterwards.
    """

    cookie: str

    @classmethod
    def begin(cls, purpose: str, target: str = "") -> "Flow":
        """Return a new flow.

        Args:
            purpose: ``login`` or ``link``.
            target: The page to go to afterwards.
        """
        where = base64.urlsafe_b64encode(target.encode()).decode().rstrip("=")
        return cls(f"{int(now().timestamp())}.{secrets.token_urlsafe(32)}.{purpose}.{where}")

    @property
    def purpose(self) -> str:
        """What it is for; empty when the cookie is none of ours."""
        parts = self.cookie.split(".")
        return parts[2] if len(parts) == 4 and len(parts[1]) >= 43 else ""  # noqa: PLR2004 - its parts

    @property
    def target(self) -> str:
        """The page to go to afterwards; the browser could have changed it."""
        text = self.cookie.rpartition(".")[2]
        try:
            return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        except ValueError:
            return ""

    @property
    def is_live(self) -> bool:
        """Whether it began a short while ago."""
        begun = self.cookie.partition(".")[0]
        is_instant = begun.isascii() and begun.isdecimal() and len(begun) <= _DIGITS
        if not is_instant or self.purpose not in PURPOSES:
            return False
        return 0 <= int(now().timestamp()) - int(begun) <= FLOW_SECONDS

    @property
    def state(self) -> str:
        """What the provider gives back unchanged."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What the provider writes into the token."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """What proves to the provider that whoever began the flow ends it."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        """The verifier's SHA-256, as the provider is told first."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())

    def _derived(self, name: str) -> str:
        return _base64(hmac.digest(self.cookie.encode(), name.encode(), "sha256"))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says somebody is.

    Args:
        issuer: The provider.
        subject: Its id of the account, which is never given to somebody else.
        email: The e-mail, in lower case; empty when it says none.
        is_email_verified: Whether the provider has checked that the e-mail is theirs.
        name: A name to show.
        has_second_step: Whether the provider asked for a second step, as the settings count it.
    """

    issuer: str
    subject: str
    email: str = ""
    is_email_verified: bool = False
    name: str = ""
    has_second_step: bool = False


@dataclass
class _Kept:
    """Something of the provider's that is asked for again after a while."""

    value: Mapping[str, Any] = field(default_factory=dict)
    asked_at: float = float("-inf")

    def is_younger_than(self, seconds: float) -> bool:
        return time.monotonic() - self.asked_at < seconds


class Provider:
    """The identity provider of an installation.

    Args:
        settings: Where it is and who we are there.
        client: Makes the requests; default: one of its own.

    Raises:
        ConfigurationError: The settings are incomplete, or the library is not installed.
    """

    def __init__(self, settings: Settings, client: httpx2.AsyncClient | None = None) -> None:
        require_complete(settings)
        self.settings = settings
        self.issuer = settings.oidc_issuer or ""
        self.client_id = settings.oidc_client_id or ""
        self.redirect_uri = settings.oidc_redirect_uri or ""
        self.name = settings.oidc_name
        self._client = client or httpx2.AsyncClient(
            timeout=_TIMEOUT, follow_redirects=False, trust_env=False
        )
        self._metadata, self._keys = _Kept(), _Kept()

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def address(self, flow: Flow) -> str:
        """Return where to send the browser.

        Raises:
            OidcRefused: The provider cannot be asked.
        """
        metadata = await self._described()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.settings.oidc_scopes,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        if flow.purpose == "link":
            query["prompt"] = "select_account"
        if self.settings.oidc_acr_values:
            query["acr_values"] = " ".join(self.settings.oidc_acr_values)
        endpoint = str(metadata["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def identity(self, flow: Flow, answer: Mapping[str, str]) -> Identity:
        """Return who came back from the provider.

        Args:
            flow: The flow of the browser that came.
            answer: The parameters of the address it came with.

        Raises:
            OidcRefused: Anything is not as it must be.
        """
        if not flow.is_live:
            raise OidcRefused("the flow is over, or this browser has begun none")
        if not hmac.compare_digest(answer.get("state", "").encode(), flow.state.encode()):
            raise OidcRefused("the state is not of this browser")
        metadata = await self._described()
        self._require_issuer(metadata, answer)
        if "error" in answer or not answer.get("code"):
            raise OidcRefused("the provider gave no code")
        tokens = await self._exchange(metadata, flow, answer["code"])
        header, claims = await self._decoded(str(tokens.get("id_token", "")))
        self._require_claims(claims, flow)
        _require_at_hash(header, claims, tokens)
        if not claims.get("email") and "userinfo_endpoint" in metadata:
            claims = {**await self._told(metadata, tokens, claims), **claims}
        return self._identity(claims)

    # ── what the provider says of itself ─────────────────────────────────────────────────────

    async def _described(self) -> Mapping[str, Any]:
        if self._metadata.value and self._metadata.is_younger_than(_FRESH):
            return self._metadata.value
        address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._json("GET", address)
        if found.get("issuer") != self.issuer:
            raise OidcRefused("the provider calls itself otherwise")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _is_as_safe(str(found.get(name, "")), self.issuer):
                raise OidcRefused(f"the provider's {name} is missing or without TLS")
        self._metadata = _Kept(found, time.monotonic())
        return found

    async def _key_set(self, *, is_stale: bool) -> Mapping[str, Any]:
        """Return the provider's keys; anew when they do not know a token's, once a minute."""
        if self._keys.value and self._keys.is_younger_than(_PAUSE if is_stale else _FRESH):
            return self._keys.value
        metadata = await self._described()
        found = await self._json("GET", str(metadata["jwks_uri"]))
        keys = [key for key in found.get("keys", ()) if _may_sign(key)]
        self._keys = _Kept({"keys": keys}, time.monotonic())
        return self._keys.value

    def _require_issuer(self, metadata: Mapping[str, Any], answer: Mapping[str, str]) -> None:
        given = answer.get("iss")
        is_promised = metadata.get("authorization_response_iss_parameter_supported") is True
        if (given is None and is_promised) or (given is not None and given != self.issuer):
            raise OidcRefused("the answer is of another provider")

    # ── tokens ───────────────────────────────────────────────────────────────────────────────

    async def _exchange(
        self, metadata: Mapping[str, Any], flow: Flow, code: str
    ) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": flow.verifier,
        }
        configured = self.settings.oidc_client_secret
        ways = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        headers = {"accept": "application/json"}
        if configured is None:
            form["client_id"] = self.client_id
        elif "client_secret_basic" in ways:
            headers["authorization"] = _basic(self.client_id, configured.get_secret_value())
        else:
            form |= {"client_id": self.client_id, "client_secret": configured.get_secret_value()}
        return await self._json("POST", str(metadata["token_endpoint"]), data=form, headers=headers)

    async def _decoded(self, token: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """Return header and claims of a token that one of the provider's keys has signed."""
        for is_stale in (False, True):
            keys = await self._key_set(is_stale=is_stale)
            if found := _verified(token, keys):
                return found
        raise OidcRefused("the token's signature is not the provider's")

    def _require_claims(self, claims: Mapping[str, Any], flow: Flow) -> None:
        instant = now().timestamp()
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        party = claims.get("azp")
        nonce, subject = claims.get("nonce"), claims.get("sub")
        rules = {
            "iss is not the provider": claims.get("iss") == self.issuer,
            "aud is not us": self.client_id in audiences,
            "azp is not us": party == self.client_id or (party is None and len(audiences) == 1),
            "exp is over": _number(claims.get("exp")) > instant - _SKEW,
            "iat is in the future": 0 < _number(claims.get("iat")) <= instant + _SKEW,
            "nbf is in the future": _number(claims.get("nbf", 0)) <= instant + _SKEW,
            "nonce is not of this browser": isinstance(nonce, str)
            and hmac.compare_digest(nonce.encode(), flow.nonce.encode()),
            "sub is missing": isinstance(subject, str) and 0 < len(subject) <= 255,  # noqa: PLR2004 - OpenID Connect's limit
        }
        for rule, holds in rules.items():
            if not holds:
                raise OidcRefused(f"the token's {rule}")

    async def _told(
        self, metadata: Mapping[str, Any], tokens: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what the provider tells besides the token, of the same account."""
        headers = {"authorization": f"Bearer {tokens.get('access_token', '')}"}
        found = await self._json("GET", str(metadata["userinfo_endpoint"]), headers=headers)
        if found.get("sub") != claims.get("sub"):
            raise OidcRefused("the provider told of another account")
        return {name: found[name] for name in ("email", "email_verified", "name") if name in found}

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        email = claims.get("email")
        return Identity(
            issuer=self.issuer,
            subject=str(claims["sub"]),
            email=email.strip().lower() if isinstance(email, str) else "",
            is_email_verified=claims.get("email_verified") is True,
            name=str(claims.get("name") or "")[:100],
            has_second_step=self._counts_as_second_step(claims),
        )

    def _counts_as_second_step(self, claims: Mapping[str, Any]) -> bool:
        if not self.settings.oidc_second_step_counts:
            return False
        methods = claims.get("amr")
        is_said = isinstance(methods, list) and "mfa" in methods
        return is_said or claims.get("acr") in self.settings.oidc_acr_values

    async def _json(self, method: str, address: str, **given: Any) -> Mapping[str, Any]:
        try:
            answer = await self._client.request(method, address, **given)
            content = answer.content
            if not answer.is_success or len(content) > _LARGEST:
                raise OidcRefused(f"the provider answered {answer.status_code}")
            found = json.loads(content)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise OidcRefused(f"the provider cannot be asked: {type(error).__name__}") from None
        if not isinstance(found, dict):
            raise OidcRefused("the provider's answer is no object")
        return found


def require_complete(settings: Settings) -> None:
    """Go on when the settings say all that a provider needs, and the library is there.

    Raises:
        ConfigurationError: With the variable that is missing, or what to install.
    """
    for name in ("oidc_issuer", "oidc_client_id", "oidc_redirect_uri"):
        if not getattr(settings, name):
            raise ConfigurationError(f"TRADEKEEP_{name.upper()} must be set to log in by OIDC")
    try:
        import joserfc  # noqa: F401, PLC0415 - an extra: only who asks for it pays for it
    except ImportError:
        raise ConfigurationError(_NOT_INSTALLED) from None


def provider_of(settings: Settings) -> Provider | None:
    """Return the provider of the settings, None when there is none.

    Raises:
        ConfigurationError: It is named half, or the library is not installed.
    """
    return None if settings.oidc_issuer is None else Provider(settings)


def _verified(
    token: str, keys: Mapping[str, Any]
) -> tuple[Mapping[str, Any], dict[str, Any]] | None:
    from joserfc import jws, jwt  # noqa: PLC0415 - an extra
    from joserfc.errors import JoseError  # noqa: PLC0415 - an extra
    from joserfc.jwk import KeySet  # noqa: PLC0415 - an extra

    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    try:
        found = jwt.decode(token, KeySet.import_key_set(keys), ALGORITHMS, registry)  # type: ignore[arg-type]  # checked by the library
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return found.header, dict(found.claims)


def _may_sign(key: object) -> bool:
    is_public = isinstance(key, dict) and key.get("kty") in {"RSA", "EC"}
    return is_public and isinstance(key, dict) and key.get("use", "sig") == "sig"


def _require_at_hash(
    header: Mapping[str, Any], claims: Mapping[str, Any], tokens: Mapping[str, Any]
) -> None:
    if "at_hash" not in claims:
        return
    digest = hashlib.new(f"sha{str(header['alg'])[2:]}", str(tokens.get("access_token")).encode())
    half = digest.digest()[: digest.digest_size // 2]
    if not hmac.compare_digest(_base64(half).encode(), str(claims["at_hash"]).encode()):
        raise OidcRefused("the access token is not the token's")


def _is_as_safe(address: str, issuer: str) -> bool:
    """Return whether an address is one, with TLS unless the issuer itself has none."""
    allowed: Collection[str] = {"https", urlsplit(issuer).scheme}
    parts = urlsplit(address)
    return parts.scheme in allowed and bool(parts.hostname)


def _basic(client_id: str, secret: str) -> str:
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _number(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) else float("nan")


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
