"""When a worker commits: as soon as a live bar closes, and at the latest after some time or many ticks."""

from collections.abc import Collection

from ...contracts.frames.frame import MAX_TICKS
from ...db.world import World
from ..partition.partition_state import PartitionState

_COMMIT_TICKS = 1_000_000  # at most, in one commit
# The clocks of two partitions differ by up to this, and so do the closes of their bars.
CLOCKS_DIFFER_NS = 15_000_000


class CommitPacing:
    """Decides when the next commit is due. commit_s: the longest time in s that a tick waits for it."""

    def __init__(self, *, commit_s: float, world: World) -> None:
        self._world = world
        self._commit_s = commit_s
        self._uncommitted_since: float | None = None
        self._news_since: float | None = None
        self._most_ticks = _COMMIT_TICKS

    @property
    def has_news(self) -> bool:
        """Tell whether a closed live bar or a replay's end waited for a commit when `is_due` was called last."""
        return self._news_since is not None

    def note_uncommitted(self) -> None:
        """Record that ticks wait for a commit: the time counts from the first such call."""
        if self._uncommitted_since is None:
            self._uncommitted_since = self._world.monotonic_s()

    def forget_uncommitted(self) -> None:
        """Record that no ticks wait any more: every partition goes back to its committed state."""
        self._uncommitted_since = None

    def begin(self) -> None:
        """Record that a commit begins: ticks that come later wait for the next one."""
        self._uncommitted_since = self._news_since = None

    def note_committed(self) -> None:
        """After a successful commit, double the most ticks of a commit, up to _COMMIT_TICKS."""
        self._most_ticks = min(_COMMIT_TICKS, self._most_ticks * 2)

    def note_ended(self) -> None:
        """Halve the most ticks of a commit: another worker ended our backend, which kept a row locked for too long."""
        self._most_ticks = max(MAX_TICKS, self._most_ticks // 2)

    def is_due(self, states: Collection[PartitionState], *, caught_up: bool) -> bool:
        """Tell whether to commit now. caught_up: the last read reached the ends of the streams."""
        quiet = [state for state in states if not state.has_news()]
        if len(quiet) == len(states):
            self._news_since = None
        else:
            now_s, now_ns = self._world.monotonic_s(), self._world.monotonic_ns()
            self._news_since = self._news_since or now_s
            # Bars that close within some ms are committed together.
            is_last = all(state.until_close_ns(now_ns) > CLOCKS_DIFFER_NS for state in quiet)
            if caught_up and (is_last or now_s >= self._news_since + CLOCKS_DIFFER_NS / 1e9):
                return True
        if sum(state.uncommitted.ticks for state in states) >= self._most_ticks:
            return True
        waited_s = self._world.monotonic_s() - self._uncommitted_since if self._uncommitted_since is not None else 0.0
        return waited_s >= self._commit_s
