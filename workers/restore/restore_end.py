"""Ends a restore: the partition has read all that its stream held when the restore began."""

from collections.abc import Iterator, Mapping

from ...db.world import World
from ..acks import Acks
from ..lookout import Lookout
from ..partition.finished_replays import FinishedReplays
from ..partition.partition_state import PartitionState
from ..partition_reader import Entries, PartitionReader, Restoring
from ..upkeep import Upkeep


class RestoreEnd:
    """Checks after each read which restores are done."""

    def __init__(
        self,
        reader: PartitionReader,
        acks: Acks,
        *,
        finished: FinishedReplays,
        lookout: Lookout,
        upkeep: Upkeep,
        world: World,
    ) -> None:
        self._world = world
        self._reader = reader
        self._acks = acks
        self._finished = finished
        self._lookout = lookout
        self._upkeep = upkeep

    def finish(self, states: Mapping[int, PartitionState], entries: Mapping[int, Entries]) -> Iterator[PartitionState]:
        """Yield each partition whose restore is done. entries: of the last read, by partition.

        If the stream lacks frames that a producer sent, the partition first reads it once more from its start.
        """
        for partition, restoring in list(self._reader.restoring.items()):
            state = states[partition]
            if not self._reader.restored(state, came_back_empty=partition not in entries):
                continue
            # The worker that committed a replay's end may have died before it wrote `done` for the producer.
            self._acks.note_done(partition, state.done | self._finished.numbers(partition, restoring.sent))
            self._acks.send(states)
            if self._has_read_all(state, restoring):
                self._reader.drop_idle_consumers(partition)
                yield state

    def _has_read_all(self, state: PartitionState, restoring: Restoring) -> bool:
        """Begin again from the stream's start if frames are unread; those that it does not hold are asked for."""
        unread = self._lookout.unread(state, restoring.sent, in_vain=restoring.from_start)
        if unread and not restoring.from_start:
            self._reader.rewind(state, from_start=True)
            return False
        if unread:
            self._lookout.rest(state.partition, self._world.monotonic_s() - restoring.began)
        self._upkeep.ask_again(state, unread)
        return True
