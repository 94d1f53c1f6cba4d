"""The fleet's gauges, shown by the bridge that speaks: looked up every two seconds; NaN while a server is away."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import psycopg
from prometheus_client import Gauge
from redis.exceptions import RedisError

from ...contracts.market_hours import is_market_open
from ...contracts.names import DEAD_LETTERS, FRONT_DOOR, results_key
from ...contracts.partition import Position
from ...db import lag, metrics
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client, fullest_memory, is_foreign, redis_ms
from ...db.world import World
from .figures import Figures

_LOOK_EVERY_S = 2.0
_LOOK_SHARE = 0.05  # of the bridge's time, however many partitions there are

# What is read from a server, and so unknown while one is away.
_READ = (
    metrics.PARTITIONS_WITHOUT_OWNER, metrics.WORKERS, metrics.FRONT_DOOR_ENTRIES, metrics.DEAD_LETTER_ENTRIES,
    metrics.OUTBOX_ROWS, metrics.REDIS_MEMORY, metrics.REDIS_MAX_MEMORY, metrics.STALE_SYMBOLS, metrics.ACTIVE_SYMBOLS,
    metrics.MARKET_OPEN, metrics.OPEN_GAPS, metrics.FOREIGN_KEYS,
)  # fmt: skip
_READ_OF_PARTITIONS = (metrics.LAG_TICKS, metrics.LAG_SECONDS, metrics.STREAM_ENTRIES, metrics.RESULTS_ENTRIES)


class FleetGauges:
    """Shows what the fleet looks like, until `hide`."""

    def __init__(self, client: Client, partitions: int, *, world: World) -> None:
        self._world = world
        self._client = client
        self._partitions = partitions
        self._due_at = 0.0
        self._redis_ahead_ms: float | None = None  # Redis's clock less our monotonic one

    def show(self) -> None:
        """Show them from now on; what is not looked up yet is unknown."""
        metrics.PARTITIONS.set(self._partitions)
        self.forget()
        metrics.FLEET_GAUGES.are_shown = True

    def hide(self) -> None:
        """Show nothing of the fleet any more: another bridge does."""
        metrics.FLEET_GAUGES.are_shown = False
        metrics.CHANNEL_RECEIVERS.clear()

    def forget(self) -> None:
        """Know nothing, until the next look: a server is away, and an old value would be a wrong one."""
        self._due_at = 0.0
        for gauge in _READ:
            gauge.set(math.nan)
        for gauge in _READ_OF_PARTITIONS:
            for partition in range(self._partitions):
                gauge.labels(partition).set(math.nan)

    def now_ms(self) -> float | None:
        """Return Redis TIME in Unix ms, carried on since the last look; None before the first."""
        return None if self._redis_ahead_ms is None else self._redis_ahead_ms + self._world.monotonic_s() * 1000

    def is_due(self) -> bool:
        """Tell whether it is time to look."""
        return self._world.monotonic_s() >= self._due_at

    def look(self, connection: Connection, *, seen: Figures, receivers: Mapping[str, int]) -> None:
        """Look at both servers. seen: the voice's last look; receivers: of each channel's last message.

        Raises what PostgreSQL and Redis raise; nothing is known then.
        """
        began_at = self._world.monotonic_s()
        try:
            self._look(connection)
        except (psycopg.Error, RedisError, OSError):
            self.forget()
            raise
        metrics.ACTIVE_SYMBOLS.set(seen.active_symbols)
        metrics.STALE_SYMBOLS.set(seen.stale_symbol_count)
        metrics.FOREIGN_KEYS.set(len(seen.foreign_keys))
        for channel, count in receivers.items():
            metrics.CHANNEL_RECEIVERS.labels(channel).set(count)
        took_s = self._world.monotonic_s() - began_at
        self._due_at = self._world.monotonic_s() + max(_LOOK_EVERY_S, took_s / _LOOK_SHARE)

    def _look(self, connection: Connection) -> None:
        """PostgreSQL first: what is committed meanwhile then only makes the lag look longer."""
        workers, outbox_rows, open_gaps = connection.execute(query("fleet_figures")).fetchone() or (0, 0, 0)
        committed = lag.committed_numbers(connection)
        rows = connection.execute(query("partition_status")).fetchall()
        positions = {partition: Position.kept(position) for partition, _, _, position, *_ in rows}
        in_redis = lag.look(self._client, positions)
        now_ms = redis_ms(self._client)
        self._redis_ahead_ms = now_ms - self._world.monotonic_s() * 1000
        metrics.WORKERS.set(workers)
        metrics.OUTBOX_ROWS.set(outbox_rows)
        metrics.OPEN_GAPS.set(open_gaps)
        metrics.PARTITIONS_WITHOUT_OWNER.set(sum(owner is None for _, owner, *_ in rows))
        metrics.MARKET_OPEN.set(is_market_open(datetime.fromtimestamp(now_ms / 1000, UTC)))
        for partition, found in lag.lags(positions, committed, in_redis, now_ms).items():
            metrics.LAG_TICKS.labels(partition).set(math.nan if in_redis[partition].is_foreign else found.ticks)
            metrics.LAG_SECONDS.labels(partition).set(math.nan if found.age_s is None else found.age_s)
            here = in_redis[partition]
            metrics.STREAM_ENTRIES.labels(partition).set(math.nan if here.is_foreign else here.entries)
        self._look_at_redis()

    def _look_at_redis(self) -> None:
        pipeline = self._client.pipeline(transaction=False)
        keys: dict[str, Gauge] = {
            results_key(partition): metrics.RESULTS_ENTRIES.labels(partition) for partition in range(self._partitions)
        }
        keys |= {FRONT_DOOR: metrics.FRONT_DOOR_ENTRIES, DEAD_LETTERS: metrics.DEAD_LETTER_ENTRIES}
        for key in keys:
            pipeline.xlen(key)
        for gauge, entries in zip(keys.values(), pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(entries, Exception) and not is_foreign(entries):
                raise entries
            gauge.set(math.nan if isinstance(entries, Exception) else entries)
        used, most = fullest_memory(self._client)
        metrics.REDIS_MEMORY.set(used)
        metrics.REDIS_MAX_MEMORY.set(most)
