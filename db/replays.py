"""Replays: which attempt at a content is the current one, and how far it is."""

from typing import NamedTuple

from .postgres import Connection
from .queries import query


class ReplayRun(NamedTuple):
    """One attempt. numbers: what is committed, by partition; finished: its end frames are committed everywhere."""

    name: str
    numbers: dict[int, int]
    finished: bool


def open_replay(connection: Connection, base: str, source: str, partitions: int, *, again: bool) -> ReplayRun:
    """Return the latest attempt at this content, or with `again`, where that is finished, the next one."""
    names = {name for (name,) in connection.execute(query("replay_attempts"), {"name": base})}
    attempt = max((int(name.removeprefix(base).lstrip("-") or 1) for name in names), default=1)
    run = _read(connection, _name(base, attempt), partitions)
    if again and run.finished:
        run = _read(connection, _name(base, attempt + 1), partitions)
    connection.execute(query("note_replay"), {"name": run.name, "source": source})
    return run


def _name(base: str, attempt: int) -> str:
    return base if attempt == 1 else f"{base}-{attempt}"


def _read(connection: Connection, name: str, partitions: int) -> ReplayRun:
    numbers = dict.fromkeys(range(partitions), 0)
    finished = 0
    for partition, number, is_finished in connection.execute(query("producer_numbers"), {"producer": name}):
        numbers[partition] = max(numbers[partition], number)
        finished += is_finished
    return ReplayRun(name, numbers, finished == partitions)
