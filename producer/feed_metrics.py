"""The metrics of a producer's feed, updated a few times a second from what its writer has sent."""

from collections.abc import Callable

from ..contracts.frames.maker import Identity
from ..db.metrics import PRODUCER_FRAMES, PRODUCER_LAG, PRODUCER_TICKS, PRODUCER_UP, SPOOL_BYTES
from ..db.world import World
from .sending.writer import Writer

_SHOW_EVERY_S = 0.25


class FeedMetrics:
    """The metrics of one feed. All replays are `replay`: each has its own name, and labels must stay few."""

    def __init__(self, identity: Identity, writer: Writer, is_up: Callable[[], bool], *, world: World) -> None:
        self._world = world
        feed = identity.feed if identity.kind == "live" else "replay"
        self._ticks, self._frames = PRODUCER_TICKS.labels(feed), PRODUCER_FRAMES.labels(feed)
        self._lag, self._up = PRODUCER_LAG.labels(feed), PRODUCER_UP.labels(feed)
        self._writer = writer
        self._is_up = is_up
        self._shown_ticks = self._shown_frames = 0
        self._due_at = 0.0

    def show_if_due(self) -> None:
        """Update the metrics, if it is time."""
        if self._world.monotonic_s() < self._due_at:
            return
        self._due_at = self._world.monotonic_s() + _SHOW_EVERY_S
        ticks, frames = self._writer.sender.sent_ticks, self._writer.sender.sent_frames
        self._ticks.inc(ticks - self._shown_ticks)
        self._frames.inc(frames - self._shown_frames)
        self._shown_ticks, self._shown_frames = ticks, frames
        self._lag.set(self._writer.lag)
        self._up.set(self._is_up())
        SPOOL_BYTES.set(self._writer.spool_bytes)
