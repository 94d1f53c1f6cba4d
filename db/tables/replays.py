"""Replays: the current attempt at a content, and its progress."""

from collections.abc import Sequence
from typing import NamedTuple

from ...contracts.partition import partition_of
from ..postgres import Connection
from ..queries import query


class ReplayRun(NamedTuple):
    """One attempt of a replay. numbers: the last committed tick number of each partition.

    finished: the end frame of each partition is committed.
    """

    name: str
    numbers: dict[int, int]
    finished: bool


def open_replay(connection: Connection, base: str, source: str, partitions: int, *, again: bool) -> ReplayRun:
    """Return the latest attempt at this content; with `again`, if that one is finished, the next attempt."""
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


class Replaced(NamedTuple):
    """The bars that a replay replaced. source: the files of an earlier replay, None for another feed.

    taken_away: bars without a trade in the replay; cut: bars of another replay whose trades were all before or after
    its own. ticks: superseded ticks.
    """

    feed: str
    source: str | None
    bars: int
    taken_away: int
    cut: int
    ticks: int


def replaced_by(connection: Connection, replay: str) -> list[Replaced]:
    """Return the bars that a replay has replaced, by feed."""
    return [Replaced(*row) for row in connection.execute(query("replaced_by"), {"replay": replay})]


def note_cover(connection: Connection, replay: str, spans: Sequence[tuple[str, int, int]], partitions: int) -> None:
    """Record the ranges that a replay's files cover, before its end frames: (symbol, first, last) in Unix ns."""
    symbols, first_ns, last_ns = (list(column) for column in zip(*spans, strict=True)) if spans else ([], [], [])
    values = {"replay": replay, "symbols": symbols, "first_ns": first_ns, "last_ns": last_ns}
    homes = [partition_of(str(symbol), partitions) for symbol in symbols]
    with connection.transaction():
        connection.execute(query("forget_cover"), {"replay": replay})
        connection.execute(query("note_cover"), values | {"partitions": homes})


def minutes_not_held(connection: Connection, replay: str, partition: int, *, has_detail: bool) -> list[tuple[str, int]]:
    """Return the (symbol, minute) of other feeds' bars in a replay's ranges for which its files have no trade.

    Includes bars deleted from our own copy. has_detail: a bar's writer is in the side table.
    """
    values = {"replay": replay, "partition": partition}
    first, last = connection.execute(query("cover_bounds"), values).fetchone() or (None, None)
    if first is None:
        return []
    forgotten = "forgotten_minutes_not_held_with_detail" if has_detail else "forgotten_minutes_not_held"
    bounds = {"first_minute": first, "last_minute": last}
    rows = connection.execute(query("minutes_not_held"), values).fetchall()
    return rows + connection.execute(query(forgotten), values | bounds, prepare=False).fetchall()
