"""The commands, one file each: they parse and call, nothing else."""

from .bridge_command import bridge
from .producer_command import producer
from .tickstock_command import tickstock
from .worker_command import worker

__all__ = ["bridge", "producer", "tickstock", "worker"]
