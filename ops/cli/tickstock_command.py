"""`tickstock`: the commands for people."""

import click

from ...version import __version__
from .asyncapi_command import asyncapi
from .audit_command import audit
from .bars_command import bars
from .contract_command import contract
from .demo_command import demo
from .dlq_command import dlq
from .doctor_command import doctor
from .fake_massive_command import fake_massive
from .flow_command import flow
from .gaps_command import gaps
from .migrate_command import migrate
from .options import CONTEXT
from .patterns_command import patterns
from .publish_test_pattern_command import publish_test_pattern
from .replay_command import replay
from .status_command import status
from .universe_command import universe
from .urls_command import urls
from .watch_command import watch


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="tickstock")
def tickstock() -> None:
    """TickStockPL: market ticks to exact 1-minute bars, by a fleet of workers on Redis Streams and PostgreSQL."""


for command in (
    asyncapi,
    audit,
    bars,
    contract,
    demo,
    dlq,
    doctor,
    fake_massive,
    flow,
    gaps,
    migrate,
    patterns,
    publish_test_pattern,
    replay,
    status,
    universe,
    urls,
    watch,
):
    tickstock.add_command(command)
