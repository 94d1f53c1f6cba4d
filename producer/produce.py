"""The loop ①②③: take ticks from a source, make frames, send them, until the source ends or we are stopped."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from ..contracts.frames.maker import Identity
from ..contracts.stop import Stop
from ..contracts.ticks import Ticks
from ..db.vitals import VITALS
from ..db.world import REAL, World
from .feed_metrics import FeedMetrics
from .framer import Framer
from .producer_lease import ProducerLease
from .sending.writer import Writer

log = structlog.get_logger()

DRAIN_DEADLINE_S = 20.0  # for the last commits at a stop; running workers need less


@dataclass(slots=True)
class Progress:
    """The progress of a producer, for the progress bar and the summary."""

    ticks: int = 0
    refused: int = 0
    uncommitted: int = 0  # of those that were sent


class Feed(NamedTuple):
    """A source, ready to be produced.

    ticks: yields None when there is nothing now. numbers: the committed number of each partition. lease: its unit.
    linger_ms: how long a live tick waits for others in its frame; None: until the frame is full. ends: whether a stop
    ends the feed (a live or synthetic one) or interrupts it (a file). is_ingest: it sends the live market, which only
    one process may do. is_up: whether the source is connected. before_end: called between its last ticks and its
    end frames. symbols: the symbols that it may send, EVERY_SYMBOL for all; None: unknown.
    """

    identity: Identity
    ticks: Iterable[Ticks | None]
    numbers: dict[int, int]
    lease: str
    linger_ms: float | None
    ends: bool
    is_ingest: bool = False
    is_up: Callable[[], bool] = lambda: True
    before_end: Callable[[], None] = lambda: None
    symbols: Sequence[str] | None = None


def produce(
    feed: Feed,
    *,
    framer: Framer,
    writer: Writer,
    lease: ProducerLease,
    stop: Stop,
    on_progress: Callable[[Progress], None] = lambda _: None,
    world: World = REAL,
) -> bool:
    """Send a feed's ticks until it ends or we are stopped; return whether all of it is committed."""
    progress = Progress()
    metrics = FeedMetrics(feed.identity, writer, feed.is_up, world=world)
    linger_until: float | None = None
    for ticks in feed.ticks:
        VITALS.turn()
        frames = []
        if ticks is not None:
            frames = framer.add(ticks)
            progress.ticks += len(ticks)
            progress.refused += len(ticks.refused)
        if feed.linger_ms is not None and framer.waiting:
            now = world.monotonic_s()
            linger_until = linger_until or now + feed.linger_ms / 1000
            if now >= linger_until:
                frames += framer.flush()
                linger_until = None
        writer.write(frames)
        lease.check()
        progress.uncommitted = writer.lag
        on_progress(progress)
        metrics.show_if_due()
        if stop.is_set():  # only here, so that all ticks that were taken from the source are sent
            break
    if stop.is_set() and not feed.ends:
        return False
    feed.before_end()
    writer.write(framer.end())

    def show() -> None:
        progress.uncommitted = writer.lag
        on_progress(progress)
        metrics.show_if_due()

    _drain(feed, writer, lease, stop, show, world=world)
    if writer.is_drained:
        writer.forget()
    return writer.is_drained


def _drain(
    feed: Feed,
    writer: Writer,
    lease: ProducerLease,
    stop: Stop,
    on_progress: Callable[[], None],
    *,
    world: World,
) -> None:
    """Wait until everything is committed: only this process can send again what a fail-over of Redis loses."""
    deadline = world.monotonic_s() + DRAIN_DEADLINE_S
    log.info("all ticks are sent: waiting until the workers have committed them")
    while not writer.is_drained:
        VITALS.turn()
        writer.poll_if_due(every_s=0.05)
        lease.check()
        on_progress()
        if not stop.is_set():
            world.wait(stop, 0.02)
            deadline = world.monotonic_s() + DRAIN_DEADLINE_S
        elif not feed.ends or world.monotonic_s() > deadline:
            log.warning("stopped before all was committed", uncommitted=writer.lag)
            return
        else:
            world.sleep(0.02)
