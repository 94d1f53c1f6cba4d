"""The commands, one file each: they parse and call, nothing else."""

from .producer_command import producer
from .tickstock_command import tickstock
from .worker_command import worker

__all__ = ["producer", "tickstock", "worker"]
