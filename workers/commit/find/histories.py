"""Keeps a worker's histories between commits: a detector for each partition, and the committed state that it fits."""

from dataclasses import dataclass

from ...detect.detector import Detector
from ...partition.partition_state import PartitionState
from ..plan import PartitionPlan
from .ahead import Ahead


@dataclass(slots=True)
class _Kept:
    """token: the token of the checkpoint that the histories match; None while they hold bars that no plan has written.

    ahead: the bars in the histories that are still open.
    """

    detector: Detector
    token: int | None
    ahead: Ahead | None = None


class Histories:
    """Keeps a detector for each partition, as long as only our own commits change the partition's token.

    A commit puts its bars into the histories before its transaction, and so the histories get the new token before the
    first of these bars. If the commit fails, the partition never gets that token, and the histories are dropped.
    """

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def of(self, state: PartitionState) -> Detector:
        """Return the histories that fit a partition's committed state; empty ones if ours do not fit it."""
        kept = self._kept.get(state.partition)
        if kept is None or kept.token != state.held.token or kept.detector.symbols is not state.symbols:
            kept = self._kept[state.partition] = _Kept(Detector(state.symbols), state.held.token)
        if kept.ahead is not None and kept.ahead.state is not state:
            kept.ahead.take_back(kept.ahead.bars["symbol"], kept.detector)
            kept.ahead = None
        return kept.detector

    def ahead_of(self, state: PartitionState) -> Ahead | None:
        """Return the bars that are in a partition's histories before their close; call it after `of` or `lend`."""
        return self._kept[state.partition].ahead

    def note_ahead(self, state: PartitionState, ahead: Ahead | None) -> None:
        """Note which open bars a partition's histories hold; call it after `of` or `lend`."""
        self._kept[state.partition].ahead = ahead

    def lend(self, plan: PartitionPlan) -> None:
        """Give a plan the histories of its partition, to put its bars in. From now on they fit its new state."""
        plan.detector = self.of(plan.state)
        self._kept[plan.state.partition].token = plan.new_token

    def hold_back(self, plan: PartitionPlan) -> None:
        """Note that the histories hold bars that this plan leaves to a later one: they fit neither state."""
        self._kept[plan.state.partition].token = None

    def lend_rest(self, plan: PartitionPlan) -> None:
        """Give the histories to the plan of bars that were held back: they hold these bars already."""
        kept = self._kept[plan.state.partition]
        plan.detector, kept.token = kept.detector, plan.new_token

    def leave(self, partition: int) -> None:
        """Forget a partition that is not ours any more."""
        self._kept.pop(partition, None)
