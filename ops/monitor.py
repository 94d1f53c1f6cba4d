"""The system health monitor: the fleet, the bridge, the feeds and the application at one moment. Nothing is changed."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..contracts.gap_reasons import FIRST_MINUTES
from ..contracts.market_hours import is_market_open
from ..contracts.names import FRONT_DOOR
from ..db.foreign_keys import ForeignKey, all_keys, foreign_keys
from ..db.freshness import Freshness, FreshnessReader
from ..db.postgres import Connection
from ..db.queries import query
from ..db.redis import Client, masters, redis_ms
from ..workers.bridge.rates import Rates, WorkerRow
from ..workers.bridge.watch_errors import LETTERS_ARE_NEW_S, LOSSES_ARE_NEW_S
from .integration import Integration, read_integration
from .status import RedisStatus, Status, read_status, redis_status


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """left_s: until it would run out, were it not renewed."""

    unit: str
    owner: str
    epoch: int
    left_s: float


@dataclass(frozen=True, slots=True)
class ProducerStatus:
    """A live producer. running: False where it fell silent without a word. ticks: committed; last_s: since the last."""

    name: str
    running: bool
    feed: str | None
    ticks: int
    lost: int
    last_s: float | None


@dataclass(frozen=True, slots=True)
class BridgeStatus:
    """The fleet's voice. owner: None where none speaks; silent_s: since its last sign of life, None: there was none.

    standbys: bridges that wait to take over. untold: results that wait to be told, untold_s: for how long the first.
    """

    owner: str | None
    epoch: int
    silent_s: float | None
    standbys: int
    untold: int
    untold_s: float | None


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """silent_s: since a tick of a live feed was committed; None: never. lost: since the tables were made.

    bars_per_minute: of the whole fleet, over the last two minutes; at a first look, since the workers started.
    """

    market_open: bool
    silent_s: float | None
    lost: int
    lost_lately: int
    undetected_bars: int
    bars_per_minute: float
    dead_letters_lately: int
    open_gaps: int
    missing_gaps: int


@dataclass(frozen=True, slots=True)
class Report:
    """unowned_s: for how long each partition has had no owner. workers_silent_s: since a worker's last sign of life.

    redis_nodes: the one server, or each of a cluster that takes writes. foreign_keys: keys of ours in it that hold
    something else.
    """

    at: datetime
    fleet: Status
    redis_nodes: list[RedisStatus]
    unowned_s: dict[int, float]
    workers_silent_s: float | None
    bridge: BridgeStatus
    producers: list[ProducerStatus]
    leases: list[LeaseStatus]
    feed: FeedStatus
    symbols: Freshness
    integration: Integration
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    idle_definitions: list[str] = field(default_factory=list)  # on for no timeframe that workers detect on
    wrong_definitions: list[str] = field(default_factory=list)


class Monitor:
    """Looks again and again; what is dear to read is read less often."""

    def __init__(self, *, window_s: float, latest_flows: int) -> None:
        self._window_s = window_s
        self._latest_flows = latest_flows
        self._rates = Rates()
        self._symbols = FreshnessReader()

    def look(self, connection: Connection, client: Client) -> Report:
        """Look at both servers. Raises what PostgreSQL and Redis raise."""
        workers_s, bridge_s = connection.execute(query("monitor_signs")).fetchone() or (None, None)
        at = datetime.fromtimestamp(redis_ms(client) / 1000, UTC)
        fleet = read_status(connection, client)
        return Report(
            at=at,
            fleet=fleet,
            redis_nodes=[redis_status(node) for node in masters(client)],
            foreign_keys=foreign_keys(client, all_keys(fleet.partitions_total)),
            unowned_s=dict(connection.execute(query("monitor_unowned"), {"stream": FRONT_DOOR}).fetchall()),
            workers_silent_s=workers_s,
            bridge=_bridge(connection, bridge_s),
            producers=[ProducerStatus(*row) for row in connection.execute(query("monitor_producers"))],
            leases=[LeaseStatus(*row) for row in connection.execute(query("monitor_leases"))],
            feed=_feed(connection, at, bars_per_minute=self._bars_per_minute(connection)),
            symbols=self._symbols.look(connection, time.monotonic()),
            integration=read_integration(connection, client, window_s=self._window_s, latest=self._latest_flows),
            **_definitions(connection),
        )

    def _bars_per_minute(self, connection: Connection) -> float:
        rows = [WorkerRow(*row) for row in connection.execute(query("worker_counts"))]
        return self._rates.add(rows, time.monotonic()).bars * 60


def _definitions(connection: Connection) -> dict[str, list[str]]:
    # With it comes TA-Lib: only once there is a stream to look at.
    from ..workers.definitions import read_definitions  # noqa: PLC0415

    read = read_definitions(connection)
    return {
        "idle_definitions": [row.name for row in read.idle],
        "wrong_definitions": [f"{row.name} ({row.why})" for row in read.wrong],
    }


def _bridge(connection: Connection, silent_s: float | None) -> BridgeStatus:
    owner, epoch, bridges, untold, untold_s = connection.execute(query("monitor_bridge")).fetchone() or ()
    return BridgeStatus(owner, epoch or 0, silent_s, max(0, bridges - (owner is not None)), untold, untold_s)


def _feed(connection: Connection, at: datetime, *, bars_per_minute: float) -> FeedStatus:
    lately = {"lately_s": LOSSES_ARE_NEW_S}
    silent_s, lost, lost_lately, undetected = connection.execute(query("monitor_ticks"), lately).fetchone() or ()
    lately = {"lately_s": LETTERS_ARE_NEW_S}
    (letters,) = connection.execute(query("monitor_new_dead_letters"), lately).fetchone() or (0,)
    first = {"first_minutes": list(FIRST_MINUTES)}
    gaps: dict[str, int] = dict(connection.execute(query("monitor_gaps"), first).fetchall())
    return FeedStatus(
        market_open=is_market_open(at),
        silent_s=silent_s,
        lost=lost,
        lost_lately=lost_lately,
        undetected_bars=undetected,
        bars_per_minute=bars_per_minute,
        dead_letters_lately=letters,
        open_gaps=gaps.get("open", 0),
        missing_gaps=gaps.get("missing", 0),
    )
