"""A lease: the right of one process to use a unit, for example a partition. Pure.

How long it lasts: `db/lease.py`.
"""

from typing import NamedTuple


class Lease(NamedTuple):
    """A unit that we hold.

    epoch: counts the holders. A lease avoids conflicts; the checkpoint's token makes them harmless.
    """

    unit: str
    epoch: int
