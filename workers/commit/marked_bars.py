"""Which partitions' marked bars are detected next, in a commit without bars."""

from collections.abc import Iterable

from ..lookout import Lookout
from ..partition.partition_state import PartitionState
from ..partition_reader import PartitionReader
from .committer import Committer

_MOST_PARTITIONS = 8  # in one commit without bars


class MarkedBars:
    """Chooses partitions with marked bars that can be committed now."""

    def __init__(self, committer: Committer, *, reader: PartitionReader, lookout: Lookout) -> None:
        self._committer = committer
        self._reader = reader
        self._lookout = lookout

    def choose(self, states: Iterable[PartitionState], *, load: bool) -> list[PartitionState]:
        """Return some partitions with marked bars, those that wait for patterns first.

        load: also those whose histories must be loaded first.
        """
        chosen = [state for state in states if self._can_commit(state) and self._has_work(state, load=load)]
        chosen.sort(key=lambda state: state.marks["stage"].min())
        return chosen[:_MOST_PARTITIONS]

    def _can_commit(self, state: PartitionState) -> bool:
        """Tell whether nothing here needs a whole commit: a replay's end, a trade to take back, new missing frames."""
        if state.partition in self._reader.restoring:
            return False
        return not (state.uncommitted.ended_replays or state.uncommitted.undos or self._lookout.new_holes(state))

    def _has_work(self, state: PartitionState, *, load: bool) -> bool:
        return len(state.marks) > 0 if load else self._committer.has_detectable(state)
