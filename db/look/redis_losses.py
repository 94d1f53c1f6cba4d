"""Compare the numbers in PostgreSQL with the streams in Redis: after a restart Redis may lack entries.

Committed ticks are in the tables. Only ticks that were sent and not committed can be lost.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from ...contracts.fleet.fleet_look import Forgotten
from ...contracts.partition import START, Position
from ...contracts.printable import first_few
from ..postgres import Connection
from ..queries import query
from ..redis import Client
from ..tables.results import published_numbers
from .lag import Committed, InRedis, Sent, committed_numbers, noted_numbers, read_partitions


def read_forgotten(connection: Connection, client: Client) -> list[Forgotten]:
    """Read both servers, PostgreSQL first."""
    committed, noted = committed_numbers(connection), noted_numbers(connection)
    positions = {p: Position.parse(position) for p, position in connection.execute(query("committed_positions"))}
    in_redis = read_partitions(client, positions)
    said: dict[int, int] = dict(connection.execute(query("bridge_numbers")).fetchall())
    return [
        *forgotten_ticks(committed, noted, in_redis),
        *forgotten_entries(positions, in_redis),
        *forgotten_results(said, published_numbers(client, said)),
    ]


def forgotten_ticks(
    committed: Mapping[int, Mapping[str, Committed]],
    noted: Mapping[int, Mapping[str, Sent]],
    in_redis: Mapping[int, InRedis],
) -> Iterator[Forgotten]:
    """Yield findings about ticks that were sent, but are neither committed nor in Redis."""
    missing = [
        (producer, sent, sent.number - reached)
        for p, found in in_redis.items()
        for producer, sent in noted.get(p, {}).items()
        if (reached := max(found.sent.get(producer, 0), _number(committed.get(p, {}).get(producer)))) < sent.number
    ]
    for lives in (False, True):
        some = [one for one in missing if one[1].lives == lives]
        if not some:
            continue
        ticks = sum(count for _, _, count in some)
        since, until = min(sent.since for _, sent, _ in some), max(sent.until for _, sent, _ in some)
        names = first_few(sorted({producer for producer, _, _ in some}))
        says = f"Redis has lost {ticks:,} ticks of {names}, sent from {_text(since)} to {_text(until)}"
        if lives:
            yield Forgotten(says, "their producer sends them again")
        else:
            do = "a worker counts them as lost: replay that time, or `tickstock gaps repair` if a vendor has it"
            yield Forgotten(f"{says}: their producer has ended and cannot send them again", do, loses=True)


def forgotten_entries(positions: Mapping[int, Position], in_redis: Mapping[int, InRedis]) -> Iterator[Forgotten]:
    """Yield a finding for streams that end before their committed position."""
    short = {p: found.last or START for p, found in in_redis.items() if (found.last or START) < positions[p]}
    if short:
        first, last = min(short.values()), max(positions[p] for p in short)
        ends = f"at {_at(first)}, not {_at(last)}"
        says = f"the streams of partition {first_few(short)} end before the committed position: {ends}"
        yield Forgotten(says, "Redis lost data at its last start: check its append-only file; bars are in the tables")


def forgotten_results(said: Mapping[int, int], told: Mapping[int, int]) -> Iterator[Forgotten]:
    """Yield a finding for results streams that lack messages which the bridge has published."""
    short = [p for p, number in said.items() if told[p] < number]
    if short:
        says = f"the results of partition {first_few(short)} end before the bridge's position"
        yield Forgotten(says, "start a worker: it copies the rows of the outbox again")


def _number(committed: Committed | None) -> int:
    return committed.number if committed else 0


def _at(position: Position) -> str:
    if position == START:
        return "their start"
    try:
        return _text(datetime.fromtimestamp(position.ms / 1000, UTC))
    except (ValueError, OverflowError, OSError):  # an id that a sender chose
        return str(position)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
