"""Every command under one name: those of `tickstock`, and the programs of the fleet."""

import click

from .bridge_command import bridge
from .options import CONTEXT
from .producer_command import producer
from .tickstock_command import tickstock
from .worker_command import worker


@click.group(context_settings=CONTEXT)
def every_command() -> None:
    """Everything: the commands of `tickstock`, and worker, bridge and producer."""


for name, command in (*tickstock.commands.items(), ("worker", worker), ("bridge", bridge), ("producer", producer)):
    every_command.add_command(command, name)
