"""The status as people read it: short tables, in a terminal or a file."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console, JustifyMethod, OverflowMethod
from rich.table import Table

from .status import PartitionStatus, ReplayStatus, Status, WorkerStatus

_LEAST_WIDTH = 150  # what the widest table takes
_ENDED_SHOWN = 5
_SOURCE_WIDTH = 28
_ON_ONE_LINE = ("replay", "source", "started", "last commit")


def print_status(status: Status) -> None:
    """Print what the fleet looks like."""
    # A narrow terminal wraps long lines itself; a table squeezed into it loses its numbers.
    console = Console(highlight=False, width=max(_LEAST_WIDTH, Console().width))
    if status.partitions:
        console.print(_partitions(status.partitions))
    if status.workers:
        console.print(_workers(status.workers))
    if status.replays:
        console.print(_replays(status.replays))
    for line in _lines(status):
        console.print(line, soft_wrap=True, markup=False)


def _partitions(partitions: Sequence[PartitionStatus]) -> Table:
    table = _table(
        "Partitions", "partition", "owner", "epoch", "lag ticks", "lag s", "position", "last commit", "pause s"
    )
    for p in partitions:
        numbers = (str(p.epoch), f"{p.lag_ticks:,}", _seconds(p.lag_s, unknown="?"))
        table.add_row(
            str(p.partition), p.owner or "-", *numbers, p.position, _moment(p.last_commit), _seconds(p.pause_s)
        )
    return table


def _workers(workers: Sequence[WorkerStatus]) -> Table:
    names = ("ticks", "bars", "revisions", "commits", "fenced", "restores")
    table = _table("Workers", "worker", "state", "partitions", *names, "last commit")
    ended = [worker for worker in workers if not worker.running]
    for worker in [*(w for w in workers if w.running), *ended[:_ENDED_SHOWN]]:
        state = "running" if worker.running else "ended"
        counts = [f"{getattr(worker, name):,}" for name in names]
        table.add_row(worker.consumer, state, str(len(worker.partitions)), *counts, _moment(worker.updated_at))
    if len(ended) > _ENDED_SHOWN:
        table.caption = f"and {len(ended) - _ENDED_SHOWN} more that ended earlier"
    return table


def _replays(replays: Sequence[ReplayStatus]) -> Table:
    table = _table("Replays", "replay", "state", "ticks", "ended in", "started", "source")
    for r in replays:
        ended = f"{r.partitions_ended}/{r.partitions}"
        table.add_row(r.name, r.state, f"{r.ticks:,}", ended, _moment(r.started_at), _short(r.source))
    return table


def _lines(status: Status) -> list[str]:
    dead = ", ".join(f"{count:,} {reason}" for reason, count in status.dead_letters.items())
    redis, limit = status.redis, status.redis.max_memory_bytes
    used = f"{_megabytes(redis.memory_bytes)} of {_megabytes(limit) if limit else 'no limit'}"
    running = sum(worker.running for worker in status.workers)
    unowned = sum(partition.owner is None for partition in status.partitions)
    free = f", {unowned} of them without an owner" if unowned else ""
    stream = f"{status.partitions_total} partitions{free}" if status.partitions_total else "not created yet"
    return [
        f"Stream        {status.stream}: {stream}, {running} worker{'' if running == 1 else 's'}",
        f"Lag           {status.lag_ticks:,} ticks, {_seconds(status.lag_s, unknown='?')} s",
        f"Front door    {status.front_door.lag_entries:,} entries wait",
        f"Dead letters  {dead or 'none'}",
        f"Redis         {redis.version}, {used}, policy {redis.policy}, AOF {'on' if redis.aof else 'off'}",
    ]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    texts = {"owner", "worker", "state", "replay", "source", "position", "last commit", "started"}
    for name in columns:
        # A replay's name is copied into a command: it stays whole, and on one line; its source may be cut.
        overflow: OverflowMethod = "ellipsis" if name == "source" else "fold"
        justify: JustifyMethod = "left" if name in texts else "right"
        table.add_column(name, justify=justify, overflow=overflow, no_wrap=name in _ON_ONE_LINE)
    return table


def _short(text: str) -> str:
    return text if len(text) <= _SOURCE_WIDTH else f"…{text[1 - _SOURCE_WIDTH :]}"


def _moment(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%m-%d %H:%M:%S") if at else "-"


def _seconds(seconds: float | None, *, unknown: str = "-") -> str:
    return unknown if seconds is None else f"{seconds:,.1f}"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"
