"""HEAD: the headers of what GET would answer, as HTTP wants it of every server; monitors and `curl -I` ask so."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

_ENDLESS = "/events"


class AnswersHead:
    """Wraps the whole application. uvicorn sends no body of an answer to HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, HEAD as GET."""
        if scope["type"] == ScopeType.HTTP and scope["method"] == "HEAD" and scope["path"] != _ENDLESS:
            scope = scope.copy()  # uvicorn looks at its own
            scope["method"] = "GET"
        await self._app(scope, receive, send)
