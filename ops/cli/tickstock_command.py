"""`tickstock`: the commands for people."""

import click

from .lazy_group import LazyGroup
from .options import CONTEXT, version_option

COMMANDS = {
    name: f"{name.replace('-', '_')}_command"
    for name in (
        "application-login",
        "asyncapi",
        "audit",
        "bars",
        "chart",
        "contract",
        "dashboards",
        "definitions",
        "demo",
        "dlq",
        "doctor",
        "fake-massive",
        "flow",
        "gaps",
        "indicators",
        "keep",
        "migrate",
        "patterns",
        "prune",
        "publish-test-pattern",
        "redis-acl",
        "repartition",
        "replay",
        "sample",
        "secrets",
        "send",
        "splits",
        "status",
        "universe",
        "urls",
        "watch",
    )
}


@click.group(cls=LazyGroup, modules=COMMANDS, context_settings=CONTEXT)
@version_option("tickstock")
def tickstock() -> None:
    """TickStockPL: market ticks to exact 1-minute bars, by a fleet of workers on Redis Streams and PostgreSQL."""
