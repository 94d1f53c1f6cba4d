"""Check who may call: the Host header, the page that sends the request, and the API key for writes."""

import hmac
import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from litestar import Request
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, NotAuthorizedException, PermissionDeniedException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

Asked = Request[Any, Any, Any]

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_ELSEWHERE = ("cross-site", "same-site")  # another port of this machine is the same site


class Rules(NamedTuple):
    """hosts: allowed names in the Host header; IP addresses are always allowed. origins: other sites that may call.

    api_key: calls that change something need it in X-API-Key; None: no key is needed.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    api_key: str | None

    def check(self, asked: Asked) -> None:
        """Raise HTTPException, with a sentence, if a request must be refused."""
        host = asked.headers.get("host", "")
        if not self._is_ours(host):
            raise HTTPException(
                f"{host!r} is not a known name of this server: add it with --allowed-host", status_code=421
            )
        self._check_origin(asked, host)
        if asked.method in _WRITES:
            self._check_write(asked)

    def _is_ours(self, host: str) -> bool:
        # An attacker's name may resolve to our address (DNS rebinding), so only known names are served.
        name = _place(f"//{host}")[0]
        return name in self.hosts or _is_address(name)

    def _check_origin(self, asked: Asked, host: str) -> None:
        origin = asked.headers.get("origin")
        if origin in self.origins:
            return
        is_visit = asked.method == "GET" and asked.headers.get("sec-fetch-mode") == "navigate"
        is_elsewhere = origin is not None and _place(origin) != _place(f"//{host}")
        if is_elsewhere or (asked.headers.get("sec-fetch-site") in _ELSEWHERE and not is_visit):
            raise PermissionDeniedException(
                "the request comes from a page of another site: --cors-origin allows such sites"
            )

    def _check_write(self, asked: Asked) -> None:
        kind = asked.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException("the body must be application/json", status_code=415)
        said = asked.headers.get("x-api-key", "")
        if self.api_key is not None and not hmac.compare_digest(said.encode(), self.api_key.encode()):
            raise NotAuthorizedException("X-API-Key is missing or wrong: calls that change something need it")


class WhoMay(ASGIMiddleware):
    """Refuses a request before its body is read."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Check a request, and pass it on."""
        self._rules.check(Request(scope))
        await next_app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _place(url: str) -> tuple[str, str]:
    """Return (host, host:port) of a URL. For `null` or another text that is not a URL, it differs from all others."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.netloc
    except ValueError:
        return "", url


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def rules_of(*, names: Iterable[str], origins: Iterable[str], api_key: str | None) -> Rules:
    """Make the rules. names: allowed host names besides localhost."""
    return Rules(frozenset({"localhost", *(name.lower() for name in names)}), frozenset(origins), api_key)
