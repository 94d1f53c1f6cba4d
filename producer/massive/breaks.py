"""The gap of a broken connection: from the last message that was surely received to the first one after the break."""

from collections.abc import Callable, Sequence

from ...contracts.gap import OnGap
from ...contracts.spellings.massive_json import parse_messages
from ...db.world import REAL, World

# The library pings every 20 s and waits 20 s for the answer: a dead connection loses messages for at most this time.
_SURELY_HEARD_S = 60.0
# Messages are sent later than their time: a second when it is over, a minute some seconds after its end.
_TOLD_LATER_MS = {"T": 3_000, "A": 5_000, "AM": 70_000}
_AHEAD_MS = 3_000  # the vendor's clock may be ahead of ours
_MAX_BEHIND_MS = 1_800_000  # an older timestamp does not show how far behind we read


class Breaks:
    """Remembers when the last message came, and calls `on_gap` for each break when it is over.

    channel: T, A or AM. now_ms: the feed's market time, Unix ms. One thread calls it.
    """

    def __init__(self, channel: str, *, now_ms: Callable[[], int], on_gap: OnGap, world: World = REAL) -> None:
        self._world = world
        self._told_later_ms = _TOLD_LATER_MS[channel]
        self._now_ms = now_ms
        self._on_gap = on_gap
        self._heard_at = 0.0  # monotonic
        self._heard = b""
        self._first_ms: int | None = None
        self._why = ""
        self.is_away = True

    def listen(self) -> None:
        """Begin to measure the silence, after a connect."""
        self._heard_at = self._world.monotonic_s()

    def hear(self, body: bytes) -> None:
        """Record that a message came."""
        self._heard_at, self._heard = self._world.monotonic_s(), body

    @property
    def silent_s(self) -> float:
        """Seconds since the last message."""
        return self._world.monotonic_s() - self._heard_at

    def begin(self, why: str, *, was_silent: bool) -> None:
        """Record that the connection broke. was_silent: we closed it, because no message came for too long."""
        self.is_away = True
        lost_s = self.silent_s if was_silent else min(self.silent_s, _SURELY_HEARD_S)
        self._first_ms = self._now_ms() - int(lost_s * 1000) - self._behind_ms() - self._told_later_ms
        self._why = why

    def end(self, symbols: Sequence[str] | None) -> None:
        """Record that messages come again; report the break, if there was one."""
        self.is_away = False
        if self._first_ms is not None:
            first_ms, self._first_ms = self._first_ms, None
            self._on_gap(first_ms, self._now_ms() + _AHEAD_MS, symbols, self._why)

    def close(self, symbols: Sequence[str] | None) -> None:
        """Record that the feed has stopped; a break that has not ended is reported until now."""
        if self._first_ms is not None:
            first_ms, self._first_ms = self._first_ms, None
            self._on_gap(first_ms, self._now_ms(), symbols, self._why)

    def _behind_ms(self) -> int:
        """Return how far behind the market the last message was when we read it.

        The server disconnects a reader that is too slow, and what waited for it there is lost too.
        """
        ticks = parse_messages([self._heard] if self._heard else []).ticks
        if not len(ticks):
            return 0
        heard_ms = self._now_ms() - int(self.silent_s * 1000)
        behind_ms = heard_ms - int(ticks.ts.max()) // 1_000_000
        return behind_ms if 0 < behind_ms < _MAX_BEHIND_MS else 0
