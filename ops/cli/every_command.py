"""Every command under one name: those of `tickstock`, and the programs of the fleet."""

import click

from .parts.lazy_group import LazyGroup
from .parts.options import CONTEXT, version_option
from .tickstock_command import COMMANDS

PROGRAMS = {name: f"fleet.{name}_command" for name in ("worker", "bridge", "jobs", "api", "producer")}


@click.group(cls=LazyGroup, modules=COMMANDS | PROGRAMS, context_settings=CONTEXT)
@version_option("tickstockpl")
def every_command() -> None:
    """All commands: those of `tickstock`, and worker, bridge, jobs, api and producer."""
