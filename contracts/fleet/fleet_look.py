"""The fleet at one moment, as a value: what both servers say of it. Everything that judges or shows it is a view. Pure.

`db/look/fleet_look.py` reads it, `fleet_health.py` judges it. msgspec writes it to JSON and reads it back.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from ..server import Server

# What a start of a Redis brings back of its append-only file.
Replay = Literal["whole", "drops", "unknown"]


@dataclass(frozen=True, slots=True)
class PartitionLook:
    """lag_ticks: sent, not committed. lag_s: age of the oldest entry above the position; 0: none waits, None: unknown.

    owner: None where no worker has it. pause_s: how long the partition stood still when it moved the last time.
    entries, results: in its two streams; None where the key holds something else.
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
    """The counts run since the worker's start; a worker that ended keeps its last ones.

    silent: it fell silent without a word: killed, or cut off.
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

    partitions: how many it ends in, of the stream that it was sent into.
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
    """applied: the lowest entry id that is applied in every partition. lag_entries: entries behind it.

    None: unknown, because the key holds something else. lost: entries that were trimmed or deleted before they were
    read; None where Redis does not count what it adds. lost_between: the ids between which that was so last.
    entries: all that the stream holds.
    """

    applied: str
    lag_entries: int | None
    lost: int | None = 0
    lost_between: tuple[str, str] | None = None
    entries: int | None = 0


@dataclass(frozen=True, slots=True)
class RedisLook:
    """One server. max_memory_bytes: None where there is no limit. replay: what of its file a start brings back."""

    version: str
    memory_bytes: int
    max_memory_bytes: int | None
    policy: str
    aof: bool
    replay: Replay = "whole"

    @property
    def memory_share(self) -> float:
        """Return how much of `maxmemory` is used, 0..1; 0 where there is no limit."""
        return self.memory_bytes / self.max_memory_bytes if self.max_memory_bytes else 0.0


@dataclass(frozen=True, slots=True)
class Forgotten:
    """One thing that Redis has forgotten. loses: ticks are lost by it; do: the next step of a person."""

    says: str
    do: str
    loses: bool = False


@dataclass(frozen=True, slots=True)
class StreamLook:
    """How far the stream is worked off, and by whom. partitions_total: 0 where no process has created it yet.

    lag_ticks: of all partitions; lag_s: of the oldest tick, None where unknown. forgotten: what Redis held and holds no
    more. repeated_ticks: trades that came again, ever. dead_letters: rows of each reason.
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
        """Return how many partitions a worker owns."""
        return sum(partition.owner is not None for partition in self.partitions)


@dataclass(frozen=True, slots=True)
class LeaseLook:
    """left_s: until it would run out, were it not renewed."""

    unit: str
    owner: str
    epoch: int
    left_s: float


@dataclass(frozen=True, slots=True)
class ProducerLook:
    """A live producer. running: False where it fell silent without a word. ticks: committed; last_s: since the last."""

    name: str
    running: bool
    feed: str | None
    ticks: int
    lost: int
    last_s: float | None


@dataclass(frozen=True, slots=True)
class BridgeLook:
    """The active bridge. owner: None if no bridge is active; silent_s: since its last heartbeat, None: never.

    standbys: bridges that wait to take over. untold: results that wait to be told, untold_s: for how long the first.
    connected_s: for how long the one that speaks has been connected to PostgreSQL; None where none speaks, or unknown.
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
    """silent_s: since a tick of a live feed was committed; None: never. lost: since the tables were made.

    lost_lately: of producers that lost some within the last 15 minutes; dead_letters_lately: within the last 5.
    bars_per_minute: of the whole fleet, over the last two minutes; at a first look, since the workers started.
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
    """A daily run. took_s: until its end, or until now; still_s: since it came a step further, 0 where it has ended.

    ended_s: since its end, None where it is alive. failed_symbols: those that it could not do, known at its end.
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
    """Daily runs, and who does them. run: the one that is alive, else the latest; None: there was none.

    processes: `tickstock-jobs` that run, connected_s: for how long the first of them has, None where none does.
    waiting_steps: in the stream, those under way included; None where the key holds something else. untold: messages
    of runs that the bridge has not passed; among those of BridgeLook, too.
    """

    processes: int = 0
    connected_s: float | None = None
    waiting_steps: int | None = 0
    untold: int = 0
    run: RunLook | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What the running workers do and use. ticks_per_second: since the look before; cpu_percent: of one core.

    commit_lag_ms: the age of the oldest tick in the last commit of a worker that is busy; 0 where none is.
    """

    ticks_per_second: float = 0.0
    cpu_percent: float = 0.0
    memory_mb: float = 0.0
    commit_lag_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """active: with a bar within 5 minutes of the newest of all; stale: within 8 hours, and no longer active.

    stale_symbols: the first 50 of them by name.
    """

    active: int
    stale: int
    stale_symbols: list[str]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A key of ours in Redis that holds something else. holds, wants: types as people say them, "a list"."""

    key: str
    holds: str
    wants: str

    @property
    def says(self) -> str:
        """Say what is wrong."""
        return f"{self.key} holds {self.holds}, not {self.wants} of ours"

    @property
    def do(self) -> str:
        """Say how to put it right."""
        return f"RENAME '{self.key}' to another name, or DEL it; what is ours comes back by itself"


@dataclass(frozen=True, slots=True)
class CheckpointCount:
    """last_s: seconds since it was logged last."""

    source: str
    checkpoint: str
    count: int
    last_s: float


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Seconds since each sign of life; None: none, or none within the window.

    key_s: our key in Redis; logged_s: our row in the flow log, of a heartbeat or a start; application_s: whatever the
    application logged last. subscribers: connections on `tickstock.events.patterns`.
    """

    key_s: float | None
    logged_s: float | None
    application_s: float | None
    subscribers: int


@dataclass(frozen=True, slots=True)
class Flows:
    """Patterns published within the window. settled: those that have had 10 s for the application's steps.

    Orphans among those: never received; received and never parsed; parsed and delivered to nobody. Latencies in
    milliseconds since the publication; None where nothing came so far.
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
    """Both systems, as the flow log shows them. window_s: how far back it was read. latest: the newest flow first."""

    window_s: float
    heartbeats: Heartbeats
    flows: Flows
    checkpoints: list[CheckpointCount]
    latest: list[RecentFlow]


@dataclass(frozen=True, slots=True)
class FleetLook:
    """One look. at: by the clock of who looked; redis_s: Unix seconds by that of Redis, by which ticks arrive.

    unowned_s: how long each partition has had no owner, at most as long as a worker has run. workers_silent_s: since a
    worker's last sign of life; None: there was none. redis_nodes: the one server, or each of a cluster that takes
    writes. integration: None where the flow log was not read yet. idle_definitions: on for no timeframe that workers
    detect on. dead_letter_entries: in Redis; None where the key holds something else.
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
    jobs: JobsLook = field(default_factory=JobsLook)


@dataclass(frozen=True, slots=True)
class Away:
    """A server that does not answer. why: in one line, without a secret; for_s: None where only one look was taken."""

    server: Server
    why: str
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class DefinitionFaults:
    """Definition rows of which no worker makes use, by name: idle ones, and wrong ones with the reason."""

    idle: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
