"""What is measured of the fleet at one moment, read from PostgreSQL and Redis; no worker is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from ...db.foreign_keys import ForeignKey, all_keys, foreign_keys
from ...db.freshness import FreshnessReader
from ...db.lag import read_lags
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client, memory_share
from .rates import BUSY_S, Rates, WorkerRow


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at the fleet. Durations in seconds, up to now; a share is 0..1.

    silent_s: no tick was committed, workerless_s: no worker lived, unowned_s: a partition had no owner, for so long,
    as far as this bridge has seen. lag_ms: age of the oldest tick that is sent and not committed, or, if more, of the
    oldest in a worker's last commit; None before the first look, and where Redis has lost what waits. cpu_percent: of
    one core, all workers and us. stale_symbols: the first of them by name.
    """

    workers: int = 0
    partitions_owned: int = 0
    partitions_total: int = 0
    ticks_per_second: float = 0.0
    bars_per_minute: float = 0.0
    lag_ms: float | None = None
    undetected: int = 0
    cpu_percent: float = 0.0
    memory_mb: float = 0.0
    active_symbols: int = 0
    stale_symbol_count: int = 0
    stale_symbols: tuple[str, ...] = ()
    redis_memory_share: float = 0.0
    foreign_keys: tuple[ForeignKey, ...] = ()
    silent_s: float = 0.0
    workerless_s: float = 0.0
    unowned_s: float = 0.0
    dead_letters: int = 0  # added lately, as watch_errors.py counts them
    ticks_lost: int = 0  # lately, too
    uptime_s: float = 0.0
    database_away_s: float | None = None  # None: it is there


class FigureReader:
    """Looks at the fleet again and again; rates come from what was added since the look before."""

    def __init__(self, client: Client, *, partitions: int, now_s: float) -> None:
        self._client = client
        self._partitions = partitions
        self._rates = Rates()
        self._process = psutil.Process()
        self._process.cpu_percent()  # each later call measures from the one before
        self._began_s = self._ticked_s = self._worked_s = self._owned_s = now_s
        self._symbols = FreshnessReader()

    def look(self, connection: Connection, now_s: float) -> Figures:
        """Read the figures. now_s: monotonic seconds. Raises what PostgreSQL and Redis raise."""
        workers = len(connection.execute(query("live_consumers")).fetchall())
        owned = int((connection.execute(query("partitions_owned")).fetchone() or (0,))[0])
        rows = [WorkerRow(*row) for row in connection.execute(query("worker_counts"))]
        living = [row for row in rows if row.living]
        symbols = self._symbols.look(connection, now_s)
        lag_ms = self._lag_ms(connection, living)
        share = memory_share(self._client)
        rate = self._rates.add(rows, now_s)
        self._note_times(now_s, ticked=rate.ticks > 0, worked=workers > 0, owned=owned >= self._partitions)
        return Figures(
            workers=workers,
            partitions_owned=owned,
            partitions_total=self._partitions,
            ticks_per_second=rate.ticks,
            bars_per_minute=rate.bars * 60,
            lag_ms=lag_ms,
            undetected=sum(row.undetected for row in living),
            cpu_percent=rate.cpu_s * 100 + self._process.cpu_percent(),
            memory_mb=sum(row.memory_mb for row in living) + self._process.memory_info().rss / 2**20,
            active_symbols=symbols.active,
            stale_symbol_count=symbols.stale,
            stale_symbols=tuple(symbols.stale_symbols),
            redis_memory_share=share,
            foreign_keys=tuple(foreign_keys(self._client, all_keys(self._partitions))),
            silent_s=now_s - self._ticked_s,
            workerless_s=now_s - self._worked_s,
            unowned_s=now_s - self._owned_s,
            uptime_s=now_s - self._began_s,
        )

    def _note_times(self, now_s: float, *, ticked: bool, worked: bool, owned: bool) -> None:
        self._ticked_s = now_s if ticked else self._ticked_s
        self._worked_s = now_s if worked else self._worked_s
        self._owned_s = now_s if owned else self._owned_s

    def _lag_ms(self, connection: Connection, living: Sequence[WorkerRow]) -> float | None:
        """Return the age of the oldest tick that waits, or waited in a worker's last commit; None where unknown."""
        ages_s = [lag.age_s for lag in read_lags(connection, self._client).values()]
        if None in ages_s:
            return None
        in_commits = [row.lag_ms for row in living if row.idle_s < BUSY_S]
        return max([age_s * 1000 for age_s in ages_s if age_s is not None] + in_commits, default=0.0)
