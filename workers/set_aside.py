"""Owned partitions that cannot be worked on, because a key of theirs holds something else: still ours, left out.

Nothing of them is kept in memory: when the key is right again, they are restored like a partition that was just taken.
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
        """Their leases: to be renewed, and to be given back, like the others."""
        return list(self._held.values())

    def look(self, states: dict[int, PartitionState]) -> set[int]:
        """Take those partitions out of `states` that have a foreign key; return them."""
        found = self._watch.look(states)
        for partition in found:
            self._held[partition] = states.pop(partition).held
        return found

    def put_right(self) -> list[Held]:
        """Return the partitions whose keys are right again: they are to be restored."""
        if not self._held:
            return []
        return [self._held.pop(partition) for partition in sorted(self._watch.put_right())]

    def drop(self, partition: int) -> bool:
        """Forget a partition that is another worker's now; return whether it was here."""
        self._watch.forget(partition)
        return self._held.pop(partition, None) is not None
