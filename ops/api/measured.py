"""Measure the duration of each call, by its route and status code."""

import time
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ...db.metrics import OTHER, REQUEST_DURATION

_STREAMS = ("/events",)  # they last as long as the client listens
_METHODS = ("GET", "POST", "DELETE", "OPTIONS")


class Measured:
    """Wraps the whole application, so that refused calls count, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record its duration and status code."""
        began_s, status = time.monotonic(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            route = _route(scope)
            if route not in _STREAMS:
                method = scope.get("method", "")
                labels = (route, method if method in _METHODS else OTHER, str(status))
                REQUEST_DURATION.labels(*labels).observe(time.monotonic() - began_s)


def _route(scope: Any) -> str:
    """Return the route's template: with the path itself, each id that a client sends would be another time series."""
    return scope.get("path_template") or OTHER
