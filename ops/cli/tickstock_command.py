"""`tickstock`: the commands for people."""

import click

from .parts.lazy_group import LazyGroup
from .parts.options import CONTEXT, version_option

# The folder of each command's module.
_FOLDERS = {
    "channels": (
        "asyncapi",
        "contract",
        "fake-massive",
        "flow",
        "openapi",
        "publish-test-pattern",
        "watch",
    ),
    "data": (
        "audit",
        "backtest",
        "backtests",
        "bars",
        "chart",
        "definitions",
        "demo",
        "dlq",
        "gaps",
        "indicators",
        "patterns",
        "replay",
        "run",
        "sample",
        "send",
        "splits",
        "universe",
    ),
    "fleet": (
        "application-login",
        "dashboards",
        "doctor",
        "keep",
        "migrate",
        "page-library",
        "prune",
        "redis-acl",
        "repartition",
        "secrets",
        "status",
        "urls",
    ),
}
COMMANDS = {name: f"{folder}.{name.replace('-', '_')}_command" for folder, names in _FOLDERS.items() for name in names}


@click.group(cls=LazyGroup, modules=COMMANDS, context_settings=CONTEXT)
@version_option("tickstock")
def tickstock() -> None:
    """TickStockPL: market ticks to exact 1-minute bars, by a fleet of workers on Redis Streams and PostgreSQL."""
