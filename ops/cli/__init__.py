"""The commands, one file each: they parse and call, nothing else."""

from .bridge_command import bridge
from .every_command import every_command
from .producer_command import producer
from .run import run
from .tickstock_command import tickstock
from .worker_command import worker

__all__ = ["bridge", "every_command", "producer", "run", "tickstock", "worker"]
