"""`tickstock`: the commands for people."""

import click

from ...version import __version__
from .audit_command import audit
from .bars_command import bars
from .demo_command import demo
from .dlq_command import dlq
from .doctor_command import doctor
from .migrate_command import migrate
from .options import CONTEXT
from .replay_command import replay
from .status_command import status
from .urls_command import urls


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="tickstock")
def tickstock() -> None:
    """TickStockPL: market ticks to exact 1-minute bars, by a fleet of workers on Redis Streams and PostgreSQL."""


for command in (audit, bars, demo, dlq, doctor, migrate, replay, status, urls):
    tickstock.add_command(command)
