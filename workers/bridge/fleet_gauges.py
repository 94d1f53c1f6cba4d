"""The fleet's gauges, exported by the active bridge from its last reading; NaN while a server is away."""

import math
from collections.abc import Mapping

from ...contracts.fleet.fleet_look import FleetLook, JobsLook, PartitionLook
from ...contracts.runs import STATUSES
from ...db import metrics
from ...db.world import World

# Read from a server; unknown while one is away.
_READ = (
    metrics.PARTITIONS_WITHOUT_OWNER, metrics.WORKERS, metrics.FRONT_DOOR_ENTRIES, metrics.DEAD_LETTER_ENTRIES,
    metrics.OUTBOX_ROWS, metrics.REDIS_MEMORY, metrics.REDIS_MAX_MEMORY, metrics.STALE_SYMBOLS, metrics.ACTIVE_SYMBOLS,
    metrics.MARKET_OPEN, metrics.OPEN_GAPS, metrics.FOREIGN_KEYS, metrics.JOBS_PROCESSES, metrics.JOBS_WAITING_STEPS,
    metrics.RUN_DURATION, metrics.RUN_STILL, metrics.RUN_FAILED_SYMBOLS, metrics.RUN_UNTOLD_MESSAGES,
)  # fmt: skip
_READ_OF_PARTITIONS = (metrics.LAG_TICKS, metrics.LAG_SECONDS, metrics.STREAM_ENTRIES, metrics.RESULTS_ENTRIES)


class FleetGauges:
    """Exports the fleet's gauges until `hide`."""

    def __init__(self, partitions: int, *, world: World) -> None:
        self._world = world
        self._partitions = partitions
        self._ahead_s: float | None = None  # the reading's clock minus our monotonic clock

    def show(self) -> None:
        """Export the gauges from now on; values not read yet are NaN."""
        metrics.PARTITIONS.set(self._partitions)
        self.forget()
        metrics.FLEET_GAUGES.are_shown = True

    def hide(self) -> None:
        """Stop exporting: another bridge is active."""
        metrics.FLEET_GAUGES.are_shown = False
        metrics.CHANNEL_RECEIVERS.clear()

    def forget(self) -> None:
        """Set all to NaN until the next reading: a server is away, and old values would be wrong."""
        for gauge in _READ:
            gauge.set(math.nan)
        for status in STATUSES:
            metrics.RUN_STATUS.labels(status).set(math.nan)
        for gauge in _READ_OF_PARTITIONS:
            for partition in range(self._partitions):
                gauge.labels(partition).set(math.nan)

    def now_s(self) -> float | None:
        """Return the Unix seconds of Redis's clock, extrapolated from the last reading; None before the first."""
        return None if self._ahead_s is None else self._ahead_s + self._world.monotonic_s()

    def take(self, look: FleetLook, receivers: Mapping[str, int]) -> None:
        """Export the values of a new reading. receivers: of each channel's last message."""
        self._ahead_s = look.redis_s - self._world.monotonic_s()
        fleet, feed = look.fleet, look.feed
        metrics.WORKERS.set(fleet.running_workers)
        metrics.PARTITIONS_WITHOUT_OWNER.set(len(fleet.partitions) - fleet.owned_partitions)
        metrics.OUTBOX_ROWS.set(look.bridge.untold)
        metrics.OPEN_GAPS.set(feed.open_gaps)
        metrics.MARKET_OPEN.set(feed.market_open)
        metrics.ACTIVE_SYMBOLS.set(look.symbols.active)
        metrics.STALE_SYMBOLS.set(look.symbols.stale)
        metrics.FOREIGN_KEYS.set(len(look.foreign_keys))
        metrics.FRONT_DOOR_ENTRIES.set(_known(fleet.front_door.entries))
        metrics.DEAD_LETTER_ENTRIES.set(_known(look.dead_letter_entries))
        fullest = max(look.redis_nodes, key=lambda node: (node.memory_share, node.memory_bytes))
        metrics.REDIS_MEMORY.set(fullest.memory_bytes)
        metrics.REDIS_MAX_MEMORY.set(fullest.max_memory_bytes or 0)
        _show_jobs(look.jobs)
        for partition in fleet.partitions:
            _show_partition(partition)
        for channel, count in receivers.items():
            metrics.CHANNEL_RECEIVERS.labels(channel).set(count)


def _show_partition(look: PartitionLook) -> None:
    partition = look.partition
    metrics.LAG_TICKS.labels(partition).set(math.nan if look.entries is None else look.lag_ticks)
    metrics.LAG_SECONDS.labels(partition).set(_known(look.lag_s))
    metrics.STREAM_ENTRIES.labels(partition).set(_known(look.entries))
    metrics.RESULTS_ENTRIES.labels(partition).set(_known(look.results))


def _show_jobs(look: JobsLook) -> None:
    run = look.run
    metrics.JOBS_PROCESSES.set(look.processes)
    metrics.JOBS_WAITING_STEPS.set(_known(look.waiting_steps))
    metrics.RUN_UNTOLD_MESSAGES.set(look.untold)
    metrics.RUN_DURATION.set(_known(run.took_s if run else None))
    metrics.RUN_STILL.set(max(run.still_s if run else 0, look.jobs_still_s))
    metrics.RUN_FAILED_SYMBOLS.set(run.failed_symbols if run else 0)
    for status in STATUSES:
        metrics.RUN_STATUS.labels(status).set(run is not None and run.status == status)


def _known(value: float | None) -> float:
    return math.nan if value is None else value
