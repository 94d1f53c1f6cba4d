"""The fleet as text: short tables, and a few lines."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import JustifyMethod, OverflowMethod
from rich.table import Table
from rich.text import Text

from ...contracts.fleet.fleet_look import FrontDoorLook, PartitionLook, ReplayLook, StreamLook, WorkerLook
from ...contracts.partition import Position

_ENDED_SHOWN = 5
_TEXTS = {
    *("owner", "worker", "state", "replay", "source", "position", "last commit", "started"),
    *("system", "checkpoint", "last", "symbol", "pattern", "path", "flow_id", "time", "unit", "producer", "feed"),
}
_SOURCE_WIDTH = 28
_ON_ONE_LINE = ("replay", "source", "started", "last commit", "flow_id", "time", "path")
_LATE_S, _STUCK_S = 5.0, 60.0  # a worker commits each second


def fleet_tables(status: StreamLook, *, most_partitions: int | None = None, is_wide: bool = True) -> Iterator[Table]:
    """Yield the tables of the fleet. most_partitions: only those with the largest lag; is_wide: with every column."""
    if status.partitions:
        yield _partitions(status.partitions, most_partitions, is_wide=is_wide)
    if status.workers:
        yield _workers(status.workers, is_wide=is_wide)
    if status.replays:
        yield _replays(status.replays, is_wide=is_wide)


def _partitions(partitions: Sequence[PartitionLook], most: int | None, *, is_wide: bool) -> Table:
    where = ("position", "last commit", "pause s") if is_wide else ("last commit",)
    table = table_of("Partitions", "partition", "owner", "epoch", "lag ticks", "lag s", *where)
    shown = partitions
    if most is not None and len(partitions) > most:
        shown = sorted(sorted(partitions, key=_worst_first)[:most], key=lambda p: p.partition)
        table.caption = f"and {len(partitions) - most:,} more that lag less"
    for p in shown:
        numbers = (str(p.epoch), f"{p.lag_ticks:,}", _lag(p.lag_s))
        others = (p.position, moment(p.last_commit), seconds(p.pause_s)) if is_wide else (moment(p.last_commit),)
        table.add_row(str(p.partition), p.owner or Text("nobody", "red"), *numbers, *others)
    return table


def _worst_first(partition: PartitionLook) -> tuple[bool, bool, float]:
    return partition.owner is not None, partition.lag_s is not None, -(partition.lag_s or 0.0)


def _lag(lag_s: float | None) -> Text:
    if lag_s is None:
        return Text("unknown", "red")
    return Text(f"{lag_s:,.1f}", "red" if lag_s > _STUCK_S else "yellow" if lag_s > _LATE_S else "")


def _state(worker: WorkerLook) -> Text:
    if worker.running:
        return Text("running", "green")
    return Text("silent", "red") if worker.silent else Text("ended", "dim")


def _workers(workers: Sequence[WorkerLook], *, is_wide: bool) -> Table:
    names = (
        ("ticks", "bars", "revisions", "commits", "fenced", "restores") if is_wide else ("ticks", "bars", "restores")
    )
    table = table_of("Workers", "worker", "state", "partitions", *names, "last commit")
    ended = [worker for worker in workers if not worker.running]
    for worker in [*(w for w in workers if w.running), *ended[:_ENDED_SHOWN]]:
        state = _state(worker)
        counts = [f"{getattr(worker, name):,}" for name in names]
        table.add_row(worker.consumer, state, str(len(worker.partitions)), *counts, moment(worker.updated_at))
    if len(ended) > _ENDED_SHOWN:
        table.caption = f"and {len(ended) - _ENDED_SHOWN} more that ended earlier"
    return table


def _replays(replays: Sequence[ReplayLook], *, is_wide: bool) -> Table:
    # Names are not shortened; in 80 columns only the progress fits as well.
    origin = ("started", "source") if is_wide else ()
    table = table_of("Replays", "replay", "state", "ticks", "ended in", *origin)
    for r in replays:
        ended = f"{r.partitions_ended}/{r.partitions}"
        whence = (moment(r.started_at), _short(r.source)) if is_wide else ()
        table.add_row(r.name, r.state, f"{r.ticks:,}", ended, *whence)
    return table


def fleet_lines(status: StreamLook) -> list[str]:
    """Return the fleet in a few lines."""
    dead = ", ".join(f"{count:,} {reason}" for reason, count in status.dead_letters.items())
    redis, limit = status.redis, status.redis.max_memory_bytes
    used = f"{_megabytes(redis.memory_bytes)} of {_megabytes(limit) if limit else 'no limit'}"
    running = status.running_workers
    unowned = len(status.partitions) - status.owned_partitions
    free = f", {unowned} of them without an owner" if unowned else ""
    stream = f"{status.partitions_total} partitions{free}" if status.partitions_total else "not created yet"
    return [
        f"Stream        {status.stream}: {stream}, {running} worker{'' if running == 1 else 's'}",
        f"Lag           {status.lag_ticks:,} ticks, {'unknown' if status.lag_s is None else f'{status.lag_s:,.1f} s'}",
        f"Front door    {_front_door(status.front_door)}",
        f"Dead letters  {dead or 'none'}",
        *(
            [f"Repeated      {status.repeated_ticks:,} trades came again and count once"]
            if status.repeated_ticks
            else []
        ),
        f"Redis         {redis.version}, {used}, policy {redis.policy}, AOF {'on' if redis.aof else 'off'}",
    ]


def parts_lines(status: StreamLook) -> Iterator[str]:
    """Yield a line each for the partitions, the workers and the replays, in place of their tables."""
    if status.partitions:
        worst = min(status.partitions, key=_worst_first)
        lag = "unknown" if worst.lag_s is None else f"{worst.lag_s:,.1f} s, {worst.lag_ticks:,} ticks"
        whose = worst.owner or "nobody"
        yield f"Partitions    {len(status.partitions)}; most behind: {worst.partition} of {whose}, {lag}"
    if status.workers:
        running = [worker for worker in status.workers if worker.running]
        shares = ", ".join(f"{worker.consumer} {len(worker.partitions)}" for worker in running) or "none runs"
        silent = sum(worker.silent for worker in status.workers)
        others = f"{len(status.workers) - len(running) - silent} ended"
        yield f"Workers       {shares}; {others}{f', {silent} silent: killed, or cut off' if silent else ''}"
    if status.replays:
        states = Counter(replay.state for replay in status.replays)
        yield f"Replays       {', '.join(f'{count} {state}' for state, count in states.items())}"


def _front_door(door: FrontDoorLook) -> str:
    waiting = "?" if door.lag_entries is None else f"{door.lag_entries:,}"
    waits = f"{waiting} entries wait"
    if door.lost is None:
        return f"{waits}; whether some were trimmed unread is unknown: this Redis does not count them"
    if not door.lost or door.lost_between is None:
        return waits
    after, through = map(_time_of_id, door.lost_between)
    return f"{waits}; {door.lost:,} were trimmed or deleted unread, the last between {after} and {through}"


def _time_of_id(entry_id: str) -> str:
    ms = Position.parse(entry_id).ms
    return "its start" if not ms else datetime.fromtimestamp(ms / 1000, UTC).strftime("%m-%d %H:%M:%S")


def table_of(title: str, *columns: str) -> Table:
    """Make a table without rows; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in columns:
        # A replay's name is copied into commands: never cut or wrap it; its source may be cut.
        overflow: OverflowMethod = "ellipsis" if name == "source" else "fold"
        justify: JustifyMethod = "left" if name in _TEXTS else "right"
        table.add_column(name, justify=justify, overflow=overflow, no_wrap=name in _ON_ONE_LINE)
    return table


def _short(text: str) -> str:
    return text if len(text) <= _SOURCE_WIDTH else f"…{text[1 - _SOURCE_WIDTH :]}"


def moment(at: datetime | None) -> str:
    """Write a time in UTC; "-" for None."""
    return at.astimezone(UTC).strftime("%m-%d %H:%M:%S") if at else "-"


def seconds(number: float | None) -> str:
    """Write seconds; "-" for None."""
    return "-" if number is None else f"{number:,.1f}"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"
