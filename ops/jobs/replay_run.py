"""A replay as one job: a producer in this process, workers beside it, and the result."""

from collections.abc import Sequence

import structlog

from ...contracts.errors import SetupError
from ...producer.replay import ReplaySource
from ..process.progress import show_progress
from ..wiring.producer import (
    STOPPED_REPLAY,
    ProducerOptions,
    has_undetected_bars,
    replay_feed,
    run_producer,
    wait_for_detectors,
)
from ..wiring.servers import Place, open_both, open_postgres
from . import fleet
from .feed_result import FeedResult, read_result

log = structlog.get_logger()


def run_replay(
    where: Place,
    files: Sequence[str],
    source: ReplaySource,
    options: ProducerOptions,
    *,
    partitions: int | None,
    workers: Sequence[Sequence[str]],
    stop: fleet.WatchedStop,
) -> FeedResult | None:
    """Replay files up to their last detection; return None if they were replayed already. workers: options of each one.

    If an earlier run was stopped after all its bars were committed, only continue its detection.

    Raises SetupError if it was stopped before the end, or no worker runs any more.
    """
    client, count = open_both(where, partitions=partitions)
    feed = replay_feed(where, files, options, count, stop, source)
    if feed is None:
        if not has_undetected_bars(where):
            return None
        log.info("continuing detection of committed bars")
    with (
        show_progress(source if options.speed is None else None, detecting=True) as shown,
        fleet.stopped_at_the_end(stop.workers),
    ):
        stop.workers += [fleet.start(where, "worker", *its_options, lines=shown.lines) for its_options in workers]
        sent = feed is None or run_producer(where, client, feed, options, stop, shown.on_progress)
        complete = sent and wait_for_detectors(where, stop, shown.on_undetected)
    if not complete:
        raise SetupError(STOPPED_REPLAY)
    if feed is None:
        return None
    with open_postgres(where, name="tickstock-replay") as connection:
        return read_result(connection, feed.identity.producer)


def expect_taken(source: ReplaySource) -> None:
    """Report why rows were refused. Raises SetupError if the files had rows and all were refused."""
    refused = ", ".join(f"{count:,} {reason}" for reason, count in source.refused.most_common())
    if not source.rows_taken and (refused or source.rows_left_out):
        why = f"refused: {refused}" if refused else f"all {source.rows_left_out:,} have a correction"
        raise SetupError(f"no row of the files was taken ({why}): `tickstock dlq ls` lists the first refused rows")
    if refused:
        print(f"rows that were refused: {refused}")
