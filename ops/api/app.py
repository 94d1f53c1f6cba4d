"""The application: its calls, and what goes around each of them."""

from collections.abc import Sequence

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from ...version import __version__
from .bars import bars
from .cache_sync import CacheSyncCalls
from .dead_letters import dead_letters
from .events import events
from .fleet import fleet
from .gaps import gaps
from .health import health
from .indicators import indicators
from .patterns import patterns
from .processing import Processing
from .refusals import HANDLERS
from .schedule import ScheduleCalls
from .service import Service
from .who_may import Rules, WhoMay

MOST_BODY_BYTES = 64 << 10

_CALLS: Sequence[ControllerRouterHandler] = (
    *(Processing, ScheduleCalls, CacheSyncCalls, health),
    *(fleet, bars, patterns, indicators, gaps, dead_letters, events),
)


def make_app(service: Service | None, rules: Rules) -> Litestar:
    """Make the application. service: None where only its document is wanted."""
    return Litestar(
        _CALLS,
        dependencies={"service": Provide(lambda: service, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        middleware=[WhoMay(rules)],
        cors_config=CORSConfig(allow_origins=sorted(rules.origins)) if rules.origins else None,
        request_max_body_size=MOST_BODY_BYTES,
        openapi_config=OpenAPIConfig(
            title="TickStockPL",
            version=__version__,
            description="Daily runs, and what the fleet makes: docs/api.md.",
            path="/schema",
            use_handler_docstrings=True,
            render_plugins=[],
        ),
        logging_config=None,
    )
