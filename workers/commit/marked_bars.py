"""Which partitions' marked bars are detected next, in a commit without bars."""

from collections.abc import Iterable
from itertools import accumulate

from ..lookout import Lookout
from ..partition.partition_state import PartitionState
from ..partition_reader import PartitionReader
from .committer import Committer

_PARTITIONS = 8  # in one commit without bars; more if they have only a few marks together
_FEW_MARKS = 2_500


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
        waiting = accumulate(len(state.marks) for state in chosen)
        few = sum(marks <= _FEW_MARKS for marks in waiting)
        return chosen[: max(few, _PARTITIONS)]

    def _can_commit(self, state: PartitionState) -> bool:
        """Tell whether nothing here needs a whole commit: a replay's end, a trade to take back, new missing frames."""
        if state.partition in self._reader.restoring:
            return False
        return not (state.uncommitted.ended_replays or state.uncommitted.undos or self._lookout.new_holes(state))

    def _has_work(self, state: PartitionState, *, load: bool) -> bool:
        return len(state.marks) > 0 if load else self._committer.has_detectable(state)
