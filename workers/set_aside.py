"""Owned partitions that cannot be processed, because one of their keys holds another type.

Their leases are kept, their state is not: when the key is correct again, they are restored like a new partition.
"""

from ..contracts.names import partition_keys
from ..db.look.foreign_keys import ForeignKeyWatch
from ..db.redis import Client
from ..db.world import World
from .partition.partition_state import Held, PartitionState


class SetAside:
    """The partitions that are set aside, with their leases."""

    def __init__(self, client: Client, *, world: World) -> None:
        self._watch = ForeignKeyWatch(client, partition_keys, world=world)
        self._held: dict[int, Held] = {}

    @property
    def held(self) -> list[Held]:
        """The leases of the partitions that were set aside: they are renewed and released like the others."""
        return list(self._held.values())

    def check(self, states: dict[int, PartitionState]) -> set[int]:
        """Move partitions with a foreign key out of `states`; return them."""
        found = self._watch.check(states)
        for partition in found:
            self._held[partition] = states.pop(partition).held
        return found

    def put_right(self) -> list[Held]:
        """Return the partitions whose keys are correct again: restore them."""
        if not self._held:
            return []
        return [self._held.pop(partition) for partition in sorted(self._watch.put_right())]

    def drop(self, partition: int) -> bool:
        """Forget a partition that another worker took; return whether it was set aside."""
        self._watch.forget(partition)
        return self._held.pop(partition, None) is not None
