"""A lease: the right of one process to a unit, a partition for one. Pure."""

from typing import NamedTuple


class Lease(NamedTuple):
    """A unit that we hold. epoch: counts the holders; it is there for peace, the checkpoint's token for safety."""

    unit: str
    epoch: int
