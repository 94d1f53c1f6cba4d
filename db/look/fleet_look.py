"""Read the state of the fleet once from both servers; no process is asked, nothing is changed.

`contracts/fleet/fleet_health.py` judges it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from ...contracts.fleet.fleet_look import (
    BridgeLook,
    DefinitionFaults,
    FeedLook,
    FleetLook,
    Integration,
    JobsLook,
    LeaseLook,
    ProducerLook,
    Replay,
    RunLook,
    Usage,
)
from ...contracts.gap_reasons import FIRST_MINUTES
from ...contracts.market_hours import day_of, hours_of, is_market_open
from ...contracts.names import DEAD_LETTERS, FRONT_DOOR, JOBS
from ..postgres import Connection
from ..queries import query
from ..redis import Client, masters, redis_ms
from ..sessions import market_closures
from .database_clock import database_s
from .flow_log import read_integration
from .foreign_keys import all_keys, foreign_keys
from .freshness import FreshnessReader
from .rates import BUSY_S, Rates, WorkerRow
from .redis_replay import replay_of
from .stream_look import lengths, read_redis, read_stream

T = TypeVar("T")

WINDOW_S = 900.0  # of the flow log, by default
LETTERS_ARE_NEW_S = 300.0
LOSSES_ARE_NEW_S = 900.0
_SELDOM_SHARE = 0.02  # of a repeated reader's time, spent on each slow part
_SELDOM_LONGEST_S = 60.0


def pause_s(took_s: float, *, every_s: float, share: float, longest_s: float) -> float:
    """Return how long to wait before the next reading, so that readings take this share of the time.

    longest_s: a longer pause is not needed by any size of a fleet: the last reading waited for a locked table or a slow
    server, and what it read must not be shown for minutes after that.
    """
    return max(every_s, min(took_s / share, longest_s))


class FleetReader:
    """Reads the state once, or again and again.

    definitions: reads the definition rows that no worker uses. now: the time of day; None: Redis's. seldom_s: slow
    parts that change slowly are read again after this number of seconds; 0: always. window_s: how far back the flow log
    is read; latest_flows: how many flows to show. with_counts: also count dead letters by reason and repeated trades,
    which no rule needs and which is slow if there are many.
    """

    def __init__(
        self,
        definitions: Callable[[Connection], DefinitionFaults],
        *,
        now: Callable[[], datetime] | None = None,
        seldom_s: float = 0.0,
        window_s: float = WINDOW_S,
        latest_flows: int = 0,
        with_counts: bool = True,
    ) -> None:
        self._read_definitions = definitions
        self._now = now
        self._window_s = window_s
        self._latest_flows = latest_flows
        self._with_counts = with_counts
        self._rates = Rates()
        self._symbols = FreshnessReader()
        self._integration = _Seldom[Integration](seldom_s)
        self._definitions = _Seldom[DefinitionFaults](4 * seldom_s)
        self._replays = _Seldom[list[Replay]](4 * seldom_s)

    def read(self, connection: Connection, client: Client, now_s: float | None = None) -> FleetLook:
        """Read everything except the flow log. now_s: monotonic seconds. Raises errors of PostgreSQL and Redis."""
        now_s = time.monotonic() if now_s is None else now_s
        workers_s, bridge_s, connected_s = connection.execute(query("monitor_signs")).fetchone() or (None, None, None)
        redis_s, redis_ahead_s = _clocks(connection, client)
        at = datetime.fromtimestamp(redis_s, UTC) if self._now is None else self._now()
        nodes = masters(client)
        if len(self._replays.value or ()) != len(nodes):  # a node joined or left the cluster
            self._replays.value = None
        replays = self._replays.read(now_s, lambda: [replay_of(node) for node in nodes])
        found = [replace(read_redis(node), replay=said) for node, said in zip(nodes, replays, strict=True)]
        fleet = read_stream(connection, client, redis=found[0], with_counts=self._with_counts)
        usage, bars_per_minute = self._usage(connection, now_s)
        letters, steps = lengths(client, [DEAD_LETTERS, JOBS])
        definitions = self._definitions.read(now_s, lambda: self._read_definitions(connection))
        return FleetLook(
            at=at,
            redis_s=redis_s,
            fleet=fleet,
            redis_nodes=found,
            foreign_keys=foreign_keys(client, all_keys(fleet.partitions_total)),
            unowned_s=dict(connection.execute(query("monitor_unowned"), {"stream": FRONT_DOOR}).fetchall()),
            workers_silent_s=workers_s,
            bridge=_bridge(connection, bridge_s, connected_s),
            producers=[ProducerLook(*row) for row in connection.execute(query("monitor_producers"))],
            leases=[LeaseLook(*row) for row in connection.execute(query("monitor_leases"))],
            feed=_feed(connection, at, bars_per_minute=bars_per_minute),
            symbols=self._symbols.read(connection, now_s),
            integration=self._integration.value,
            usage=usage,
            idle_definitions=definitions.idle,
            wrong_definitions=definitions.wrong,
            dead_letter_entries=letters,
            redis_ahead_s=redis_ahead_s,
            jobs=_jobs(connection, steps),
        )

    def with_flow_log(
        self, look: FleetLook, connection: Connection, client: Client, now_s: float | None = None
    ) -> FleetLook:
        """Add the flow log to a reading, when it is due. It is separate because the application may lock its table."""

        def read() -> Integration:
            return read_integration(connection, client, at=look.at, window_s=self._window_s, latest=self._latest_flows)

        now_s = time.monotonic() if now_s is None else now_s
        return replace(look, integration=self._integration.read(now_s, read))

    def _usage(self, connection: Connection, now_s: float) -> tuple[Usage, float]:
        """Return what the running workers use, and the bars that they make per minute."""
        rows = [WorkerRow(*row) for row in connection.execute(query("worker_counts"))]
        rate = self._rates.add(rows, now_s)
        living = [row for row in rows if row.living]
        usage = Usage(
            ticks_per_second=rate.ticks,
            cpu_percent=rate.cpu_s * 100,
            memory_mb=sum(row.memory_mb for row in living),
            commit_lag_ms=max((row.lag_ms for row in living if row.idle_s < BUSY_S), default=0.0),
        )
        return usage, rate.bars * 60


class _Seldom(Generic[T]):
    """A value that is read again when it is old enough; the readings take about 2 % of the time."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s = -math.inf
        self.value: T | None = None

    def read(self, now_s: float, ask: Callable[[], T]) -> T:
        """Return the last value read; read it again if it is due. now_s: monotonic seconds."""
        if self.value is not None and now_s < self._due_s:
            return self.value
        began_s = time.monotonic()
        value = self.value = ask()
        if self._every_s:
            took_s = time.monotonic() - began_s
            self._due_s = now_s + pause_s(
                took_s, every_s=self._every_s, share=_SELDOM_SHARE, longest_s=_SELDOM_LONGEST_S
            )
        return value


def _clocks(connection: Connection, client: Client) -> tuple[float, float]:
    """Return Redis's time, Unix seconds, and how far it is ahead of PostgreSQL's; 0 within what both answers took."""
    began_s = time.monotonic()
    postgres_s = database_s(connection)
    redis_s = redis_ms(client) / 1000
    took_s, ahead_s = time.monotonic() - began_s, redis_s - postgres_s
    return redis_s, ahead_s if abs(ahead_s) > took_s else 0.0


def _bridge(connection: Connection, silent_s: float | None, connected_s: float | None) -> BridgeLook:
    owner, epoch, bridges, untold, untold_s = connection.execute(query("monitor_bridge")).fetchone() or ()
    standbys = max(0, bridges - (owner is not None))
    return BridgeLook(owner, epoch or 0, silent_s, standbys, untold, untold_s, connected_s)


def _jobs(connection: Connection, waiting_steps: int | None) -> JobsLook:
    processes, connected_s, untold, still_s = connection.execute(query("monitor_jobs")).fetchone() or (0, None, 0, 0.0)
    run = connection.execute(query("monitor_run")).fetchone()
    return JobsLook(processes, connected_s, waiting_steps, untold, RunLook(*run) if run else None, still_s)


def _feed(connection: Connection, at: datetime, *, bars_per_minute: float) -> FeedLook:
    lately = {"lately_s": LOSSES_ARE_NEW_S}
    silent_s, lost, lost_lately, undetected = connection.execute(query("monitor_ticks"), lately).fetchone() or ()
    lately = {"lately_s": LETTERS_ARE_NEW_S}
    (letters,) = connection.execute(query("monitor_new_dead_letters"), lately).fetchone() or (0,)
    first = {"first_minutes": list(FIRST_MINUTES)}
    gaps: dict[str, int] = dict(connection.execute(query("monitor_gaps"), first).fetchall())
    closures = market_closures(connection)
    hours = hours_of(day_of(at), closures) if is_market_open(at, closures) else None
    return FeedLook(
        market_open=hours is not None,
        silent_s=silent_s,
        lost=lost,
        lost_lately=lost_lately,
        undetected_bars=undetected,
        bars_per_minute=bars_per_minute,
        dead_letters_lately=letters,
        open_gaps=gaps.get("open", 0),
        missing_gaps=gaps.get("missing", 0),
        open_s=(at - hours.opens).total_seconds() if hours else None,
    )
