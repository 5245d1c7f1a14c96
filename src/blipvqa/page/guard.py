"""Who may ask: people on this machine, or whoever has the password where it listens beyond.

Notable:
- Other pages that a person has open reach this machine too. They are kept out by the name they call it by (a name of
  theirs that they point at 127.0.0.1: "DNS rebinding"), by where a request says that it comes from, and by a token that
  only the page itself holds.
- Every response forbids the browser to load anything from elsewhere, to keep it, or to show it inside another page.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
WRONG_PASSWORD_WAITS = 1.0  # seconds, so that nobody tries many


class Guard:
    """Lets through to `app` what may pass, and adds HEADERS to every response."""

    def __init__(self, app: ASGIApp, password: str | None = None):
        self.app, self.password = app, password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = await self._refusal(Headers(scope=scope))
        await (refusal or self.app)(scope, receive, send_with_headers)

    async def _refusal(self, headers: Mapping[str, str]) -> PlainTextResponse | None:
        name, origin = _name(headers.get("host", "")), headers.get("origin")
        if self.password is None and name not in THIS_MACHINE:
            return PlainTextResponse("call this page by 127.0.0.1 or localhost", 421)
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return PlainTextResponse("another page may not ask here", 403)
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return PlainTextResponse("another page may not ask here", 403)
        if self.password is not None and not _is_password(headers.get("authorization", ""), self.password):
            if "authorization" in headers:
                await asyncio.sleep(WRONG_PASSWORD_WAITS)
            return PlainTextResponse("password", 401, {"WWW-Authenticate": 'Basic realm="blipvqa", charset="UTF-8"'})
        return None


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_password(authorization: str, password: str) -> bool:
    """Whether a Basic authorization, of whatever user, holds the password."""
    kind, _, encoded = authorization.partition(" ")
    try:
        _, _, said = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return kind.lower() == "basic" and hmac.compare_digest(said, password.encode())
