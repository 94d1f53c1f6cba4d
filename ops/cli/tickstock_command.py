"""`tickstock`: the commands for people."""

import click

from ...version import __version__
from .lazy_group import LazyGroup
from .options import CONTEXT

COMMANDS = {
    name: f"{name.replace('-', '_')}_command"
    for name in (
        "application-login",
        "asyncapi",
        "audit",
        "bars",
        "contract",
        "dashboards",
        "definitions",
        "demo",
        "dlq",
        "doctor",
        "fake-massive",
        "flow",
        "gaps",
        "keep",
        "migrate",
        "patterns",
        "prune",
        "publish-test-pattern",
        "redis-acl",
        "repartition",
        "replay",
        "secrets",
        "splits",
        "status",
        "universe",
        "urls",
        "watch",
    )
}


@click.group(cls=LazyGroup, modules=COMMANDS, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="tickstock")
def tickstock() -> None:
    """TickStockPL: market ticks to exact 1-minute bars, by a fleet of workers on Redis Streams and PostgreSQL."""
