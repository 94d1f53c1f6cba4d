"""The HTTP application: its calls, the checks before each call, and its OpenAPI document."""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import OpenAPI, RequestBody
from litestar.types import ControllerRouterHandler, Method

from ...version import __version__
from ..page.handlers import page_handlers
from .backtests.calls import BacktestCalls
from .bars import bars
from .cache_sync import CacheSyncCalls
from .fleet import fleet, hour
from .health import health
from .indicators import indicators
from .known import definitions, symbols
from .live.events import events
from .patterns import patterns
from .processing import Processing
from .refusals import HANDLERS
from .schedule import ScheduleCalls
from .service import Service
from .ticks.dead_letters import dead_letters
from .ticks.gaps import gaps
from .ticks.ledger import ledger
from .who_may import Rules, WhoMay, rules_of

MOST_BODY_BYTES = 64 << 10
_WITH_BODY = ("/api/processing/retry-imports", "/api/backtests")  # these calls need a body

_CALLS: Sequence[ControllerRouterHandler] = (
    *(Processing, ScheduleCalls, CacheSyncCalls, health),
    *(fleet, hour, symbols, definitions, bars, patterns, indicators, ledger, gaps, dead_letters, events, BacktestCalls),
)


def make_app(service: Service | None, rules: Rules) -> Litestar:
    """Make the application. service: None if only the OpenAPI document is needed."""
    app = Litestar(
        [*_CALLS, *page_handlers()],
        dependencies={"service": Provide(lambda: service, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        middleware=[WhoMay(rules)],
        cors_config=CORSConfig(allow_origins=sorted(rules.origins)) if rules.origins else None,
        request_max_body_size=MOST_BODY_BYTES,
        openapi_config=OpenAPIConfig(
            title="TickStockPL",
            version=__version__,
            description="Daily runs, and the bars, patterns and indicators of the fleet. See docs/api.md.",
            path="/schema",
            use_handler_docstrings=True,
            operation_id_creator=_operation_id,
            render_plugins=[JsonRenderPlugin()],
        ),
        logging_config=None,
    )
    _bodies_are_optional(app.openapi_schema)
    return app


def _bodies_are_optional(document: OpenAPI) -> None:
    """Mark the bodies of POST calls as optional: Litestar documents every body as required."""
    posts = (item.post for path, item in (document.paths or {}).items() if path not in _WITH_BODY)
    for body in (post.request_body for post in posts if post is not None):
        if isinstance(body, RequestBody):
            body.required = False


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of every call."""
    return make_app(None, rules_of(names=(), origins=(), api_key=None)).openapi_schema.to_schema()


def _operation_id(handler: HTTPRouteHandler, method: Method, path: Sequence[object]) -> str:  # noqa: ARG001  # Litestar's
    words = [str(word) for word in path if isinstance(word, str)]
    return "_".join([method.lower(), *words]).replace("-", "_")
