"""The histories of a worker's partitions, from commit to commit: each detector, and which committed state it fits."""

from dataclasses import dataclass

from ..detect.detector import Detector
from ..partition.partition_state import PartitionState
from .plan import PartitionPlan


@dataclass(slots=True)
class _Kept:
    """token: of the checkpoint that the histories fit; None while a part of what is in them is in no plan."""

    detector: Detector
    token: int | None


class Histories:
    """Keeps a detector for each partition, as long as the partition's token moves by our commits alone.

    A commit puts its bars into the histories before its transaction. So they count as fitting the new token from before
    the first of these bars: where the commit fails, the partition never gets that token, and they are dropped.
    """

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def of(self, state: PartitionState) -> Detector:
        """Return the histories that fit a partition's committed state; empty ones where those here do not."""
        kept = self._kept.get(state.partition)
        if kept is None or kept.token != state.held.token or kept.detector.symbols is not state.symbols:
            kept = self._kept[state.partition] = _Kept(Detector(state.symbols), state.held.token)
        return kept.detector

    def lend(self, plan: PartitionPlan) -> None:
        """Give a plan the histories of its partition, to put its bars in: they fit what it makes from now on."""
        plan.detector = self.of(plan.state)
        self._kept[plan.state.partition].token = plan.new_token

    def hold_back(self, plan: PartitionPlan) -> None:
        """Note that the histories hold bars of a plan that are left for a later one: they fit neither state."""
        self._kept[plan.state.partition].token = None

    def lend_rest(self, plan: PartitionPlan) -> None:
        """Give a plan of bars that were left out before the histories, which hold these already."""
        kept = self._kept[plan.state.partition]
        plan.detector, kept.token = kept.detector, plan.new_token

    def leave(self, partition: int) -> None:
        """Forget a partition that is not worked on here any more."""
        self._kept.pop(partition, None)
