"""The state of the fleet at one moment, read from both servers. All checks and views use this value. Pure.

`db/look/fleet_look.py` reads it, `fleet_health.py` judges it. msgspec writes it to JSON and reads it back.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from ..server import Server

# How much of its append-only file a restarted Redis would restore.
Replay = Literal["whole", "drops", "unknown"]


@dataclass(frozen=True, slots=True)
class PartitionLook:
    """lag_ticks: sent, not committed. lag_s: age of the oldest entry after the position; 0: none waits, None: unknown.

    owner: None if no worker owns it. pause_s: how long the partition had no owner at its last move. entries, results:
    in its two streams; None if the key holds another type.
    """

    partition: int
    owner: str | None
    epoch: int
    lag_ticks: int
    lag_s: float | None
    position: str
    last_commit: datetime | None
    pause_s: float | None
    entries: int | None = 0
    results: int | None = 0


@dataclass(frozen=True, slots=True)
class WorkerLook:
    """Counts since the worker's start; a worker that ended keeps its last ones.

    silent: it stopped without ending its lease: killed, or cut off.
    """

    consumer: str
    running: bool
    silent: bool
    partitions: list[int]
    host: str | None
    pid: int | None
    started_at: datetime | None
    updated_at: datetime | None
    ticks: int
    bars: int
    revisions: int
    commits: int
    fenced: int
    restores: int


@dataclass(frozen=True, slots=True)
class ReplayLook:
    """state: running, unfinished (its last minutes stay open), finished or abandoned.

    partitions: the number of partitions in which it must end.
    """

    name: str
    state: str
    source: str
    started_at: datetime
    ended_at: datetime | None
    partitions_ended: int
    ticks: int
    partitions: int


@dataclass(frozen=True, slots=True)
class FrontDoorLook:
    """applied: the lowest entry id that every partition has applied. lag_entries: entries after it.

    None: unknown, because the key holds another type. lost: entries that were trimmed or deleted before a worker read
    them; None if Redis does not count added entries. lost_between: the ids around the last loss. entries: in the
    stream.
    """

    applied: str
    lag_entries: int | None
    lost: int | None = 0
    lost_between: tuple[str, str] | None = None
    entries: int | None = 0


@dataclass(frozen=True, slots=True)
class RedisLook:
    """One server. max_memory_bytes: None if unlimited. replay: how much of its file a restart restores."""

    version: str
    memory_bytes: int
    max_memory_bytes: int | None
    policy: str
    aof: bool
    replay: Replay = "whole"

    @property
    def memory_share(self) -> float:
        """Return the used part of `maxmemory`, 0..1; 0 if unlimited."""
        return self.memory_bytes / self.max_memory_bytes if self.max_memory_bytes else 0.0


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Data that Redis has lost. loses: ticks are lost; do: the next step for a person."""

    says: str
    do: str
    loses: bool = False


@dataclass(frozen=True, slots=True)
class StreamLook:
    """How far the streams are processed, and by which workers. partitions_total: 0 before the stream is created.

    lag_ticks: of all partitions; lag_s: of the oldest tick, None if unknown. forgotten: data that Redis has lost.
    repeated_ticks: repeated trades since the tables were made. dead_letters: rows by reason.
    """

    stream: str
    partitions_total: int
    lag_ticks: int
    lag_s: float | None
    partitions: list[PartitionLook]
    front_door: FrontDoorLook
    workers: list[WorkerLook]
    replays: list[ReplayLook]
    dead_letters: dict[str, int]
    redis: RedisLook
    forgotten: list[Forgotten] = field(default_factory=list)
    repeated_ticks: int = 0

    @property
    def running_workers(self) -> int:
        """Return how many workers run."""
        return sum(worker.running for worker in self.workers)

    @property
    def owned_partitions(self) -> int:
        """Return how many partitions have an owner."""
        return sum(partition.owner is not None for partition in self.partitions)


@dataclass(frozen=True, slots=True)
class LeaseLook:
    """left_s: seconds until it ends, if it is not renewed."""

    unit: str
    owner: str
    epoch: int
    left_s: float


@dataclass(frozen=True, slots=True)
class ProducerLook:
    """A live producer.

    running: False if it stopped without ending its lease. ticks: committed; last_s: since the last. spool_bytes: those
    that wait in its spool, as it last recorded; None: it has no spool.
    """

    name: str
    running: bool
    feed: str | None
    ticks: int
    lost: int
    last_s: float | None
    spool_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class BridgeLook:
    """The active bridge. owner: None if no bridge is active; silent_s: since its last heartbeat, None: never.

    standbys: standby bridges. untold: results that wait to be published; untold_s: how long the first one has waited.
    connected_s: how long the active bridge has been connected to PostgreSQL; None: no active bridge, or unknown.
    """

    owner: str | None
    epoch: int
    silent_s: float | None
    standbys: int
    untold: int
    untold_s: float | None
    connected_s: float | None = None


@dataclass(frozen=True, slots=True)
class FeedLook:
    """silent_s: since a live tick was committed; None: never. lost: ticks, since the tables were made.

    lost_lately: of producers that lost ticks within the last 15 minutes; dead_letters_lately: within the last 5.
    bars_per_minute: of the whole fleet, over the last two minutes; at the first reading, since the workers started.
    open_s: since the market opened; None while it is closed.
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
    open_s: float | None = None


@dataclass(frozen=True, slots=True)
class RunLook:
    """A daily run. took_s: seconds until its end, or until now; still_s: since its last finished step, 0 after its end.

    ended_s: seconds since its end, None while it is active. failed_symbols: their number, known at its end.
    """

    run_id: UUID
    run_date: date
    status: str
    phase: str | None
    took_s: float
    still_s: float
    ended_s: float | None = None
    failed_symbols: int = 0
    error: str | None = None

    @property
    def is_alive(self) -> bool:
        """Tell whether it has not ended."""
        return self.ended_s is None

    @property
    def name(self) -> str:
        """Name it to people."""
        return f"the run of {self.run_date}"


@dataclass(frozen=True, slots=True)
class JobsLook:
    """Daily runs and their processes. run: the active run, else the latest one; None: there was no run yet.

    processes: the number of `tickstock-jobs` that run. connected_s: seconds since the first of them connected; None if
    none runs. waiting_steps: steps in the stream, including those that a process works on; None if the key has another
    type.
    untold: messages of runs that the bridge has not published; BridgeLook counts them, too. jobs_still_s: seconds since
    an active data load or backtest last ended a step, or since the first was requested; 0 if no job is active.
    """

    processes: int = 0
    connected_s: float | None = None
    waiting_steps: int | None = 0
    untold: int = 0
    run: RunLook | None = None
    jobs_still_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Work and resources of the running workers. ticks_per_second: since the last reading; cpu_percent: of one core.

    commit_lag_ms: age of the oldest tick in the last commit of a busy worker; 0 if none is busy.
    """

    ticks_per_second: float = 0.0
    cpu_percent: float = 0.0
    memory_mb: float = 0.0
    commit_lag_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """active: symbols with a bar within 5 minutes of the newest bar; stale: within 8 hours, but not active.

    stale_symbols: the first 50 stale symbols by name.
    """

    active: int
    stale: int
    stale_symbols: list[str]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One of our Redis keys that holds another type. holds, wants: types in words, "a list"."""

    key: str
    holds: str
    wants: str

    @property
    def says(self) -> str:
        """Describe the problem."""
        return f"{self.key} holds {self.holds}, not {self.wants} of ours"

    @property
    def do(self) -> str:
        """Describe how to correct it."""
        return f"RENAME '{self.key}' to another name, or DEL it; the fleet recovers by itself"


@dataclass(frozen=True, slots=True)
class CheckpointCount:
    """last_s: seconds since its last row."""

    source: str
    checkpoint: str
    count: int
    last_s: float


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Seconds since each sign of life; None: never, or not within the window.

    key_s: our key in Redis; logged_s: our row in the flow log, of a heartbeat or a start; application_s: the
    application's last row. subscribers: connections on `tickstock.events.patterns`.
    """

    key_s: float | None
    logged_s: float | None
    application_s: float | None
    subscribers: int


@dataclass(frozen=True, slots=True)
class Flows:
    """Patterns published within the window. settled: at least 10 s old, enough for the application's steps.

    Orphans among the settled: never received; received and never parsed; parsed and not delivered. Latencies in
    milliseconds since the publication; None if there is no row yet.
    """

    published: int
    received: int
    parsed: int
    delivered: int
    settled: int
    never_received: int
    never_parsed: int
    never_delivered: int
    received_ms_median: float | None
    received_ms_p95: float | None
    delivered_ms_median: float | None
    delivered_ms_p95: float | None


@dataclass(frozen=True, slots=True)
class RecentFlow:
    """A row of pattern_flow_analysis."""

    flow_id: UUID
    start_time: datetime
    symbol: str | None
    pattern: str | None
    confidence: float | None
    total_latency_ms: float | None
    users_notified: int | None
    checkpoints_logged: int
    flow_path: list[str | None]


@dataclass(frozen=True, slots=True)
class Integration:
    """Both systems, as the flow log shows them. window_s: how far back it was read. latest: newest flow first."""

    window_s: float
    heartbeats: Heartbeats
    flows: Flows
    checkpoints: list[CheckpointCount]
    latest: list[RecentFlow]


@dataclass(frozen=True, slots=True)
class FleetLook:
    """One reading of both servers.

    at: by the reader's clock; redis_s: Unix seconds by Redis's clock, which stamps arriving ticks. unowned_s: how long
    each partition has had no owner, at most as long as a worker has run. workers_silent_s: since
    the last sign of life of any worker; None: never. redis_nodes: the one server, or each node of a cluster that
    accepts writes. integration: None if the flow log was not read yet. idle_definitions: enabled for no timeframe that
    workers detect on. dead_letter_entries: in Redis; None if the key holds another type. redis_ahead_s: Redis's clock
    minus PostgreSQL's, negative if it is behind; 0 within what the reading took.
    """

    at: datetime
    redis_s: float
    fleet: StreamLook
    redis_nodes: list[RedisLook]
    unowned_s: dict[int, float]
    workers_silent_s: float | None
    bridge: BridgeLook
    producers: list[ProducerLook]
    leases: list[LeaseLook]
    feed: FeedLook
    symbols: Freshness
    integration: Integration | None
    usage: Usage = field(default_factory=Usage)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    idle_definitions: list[str] = field(default_factory=list)
    wrong_definitions: list[str] = field(default_factory=list)
    dead_letter_entries: int | None = 0
    redis_ahead_s: float = 0.0
    jobs: JobsLook = field(default_factory=JobsLook)


@dataclass(frozen=True, slots=True)
class Away:
    """A server that does not answer. why: one line, without secrets; for_s: None after only one reading."""

    server: Server
    why: str
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class DefinitionFaults:
    """Definition rows that no worker uses, by name: idle ones, and wrong ones with the reason."""

    idle: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
