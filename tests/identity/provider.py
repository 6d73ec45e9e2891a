"""An identity provider that speaks OpenID Connect over HTTP, honest or not."""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from httpx2 import AsyncClient
from joserfc import jws, jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

SECRET = "s3cret: with/odd=characters"
CLIENT = "tradekeep"

Twist = Callable[[dict[str, Any]], object]


class IdentityProvider:
    """What it says of whoever comes, and how it lies, are attributes that tests set."""

    def __init__(self) -> None:
        self.issuer = ""
        self.keys = {"k1": RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})}
        self.forget()

    def forget(self) -> None:
        """Be honest, and know one account."""
        self.kid = "k1"
        self.person: dict[str, Any] = {"sub": "abc-1", "email": "Ada@Example.com"}
        self.person |= {"email_verified": True, "name": "Ada Lovelace"}
        self.twist: Twist = dict
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.described: dict[str, Any] = {}
        self.answer: dict[str, str] = {}
        self.in_userinfo: dict[str, Any] | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._describe),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    async def _describe(self, _: Request) -> Response:
        self.asked.append("description")
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        if self.in_userinfo is not None:
            found["userinfo_endpoint"] = f"{self.issuer}/userinfo"
        return JSONResponse(found | self.described)

    async def _keys(self, _: Request) -> Response:
        self.asked.append("keys")
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.keys.values()]})

    async def _authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = {"code": code, "state": query["state"]} | self.answer
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(back)}")

    async def _token(self, request: Request) -> Response:
        form = {name: text[0] for name, text in parse_qs((await request.body()).decode()).items()}
        pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        known = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if (
            known is None
            or pair != "tradekeep:s3cret%3A%20with%2Fodd%3Dcharacters"
            or known["redirect_uri"] != form["redirect_uri"]
            or known["code_challenge"] != base64.urlsafe_b64encode(digest).decode().rstrip("=")
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        access = secrets.token_urlsafe(16)
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
            "nonce": known["nonce"],
            "at_hash": base64.urlsafe_b64encode(half).decode().rstrip("="),
            **self.person,
        }
        self.twist(claims)
        return JSONResponse(
            {"access_token": access, "token_type": "Bearer", "id_token": self.sign(claims)}
        )

    async def _userinfo(self, _: Request) -> Response:
        return JSONResponse(self.in_userinfo)

    # ── signatures, right and wrong ──────────────────────────────────────────────────────────

    def signed(self, claims: dict[str, Any]) -> str:
        """Sign with the key that `kid` names."""
        return jwt.encode({"alg": "RS256", "kid": self.kid}, claims, self.keys[self.kid])

    def rotate(self) -> None:
        """Sign with a new key from now on."""
        self.kid = f"k{len(self.keys) + 1}"
        self.keys[self.kid] = RSAKey.generate_key(2048, {"kid": self.kid, "use": "sig"})

    def unsigned(self, claims: dict[str, Any]) -> str:
        """Claim that no signature is needed."""
        parts = ({"alg": "none"}, claims)
        return ".".join(_written(part) for part in parts) + "."

    def signed_with_the_public_key(self, claims: dict[str, Any]) -> str:
        """Use the public key, which everybody knows, as a shared secret."""
        key = OctKey.import_key(self.keys[self.kid].as_pem(private=False))
        registry = jws.JWSRegistry(algorithms=["HS256"])
        return jwt.encode({"alg": "HS256", "kid": self.kid}, claims, key, ["HS256"], registry)

    def signed_by_somebody_else(self, claims: dict[str, Any]) -> str:
        """Use another key under the same name."""
        other = RSAKey.generate_key(2048, {"kid": self.kid})
        return jwt.encode({"alg": "RS256", "kid": self.kid}, claims, other)

    # ── a browser at the provider ────────────────────────────────────────────────────────────

    async def consent(self, address: str) -> str:
        """Visit the provider as a browser does; return the path and query it is sent back with."""
        async with AsyncClient() as client:
            answer = await client.get(address)
        back = urlsplit(answer.headers["location"])
        return f"{back.path}?{back.query}"


def _written(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@asynccontextmanager
async def serving(provider: IdentityProvider) -> AsyncIterator[None]:
    """Serve the provider on a port of its own."""
    config = uvicorn.Config(provider.app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    provider.issuer = f"http://127.0.0.1:{port}"
    try:
        yield
    finally:
        server.should_exit = True
        await task
