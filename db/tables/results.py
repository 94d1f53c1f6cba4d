"""The results streams in Redis: a result's outbox number is the first part of its entry's id."""

from collections.abc import Iterable
from typing import NamedTuple

from ...contracts.names import results_key
from ...contracts.partition import Position
from ..postgres import Connection
from ..queries import query
from ..redis import Client, is_foreign


class OutboxRow(NamedTuple):
    """A row of the outbox. number: counts a partition's rows, from 1."""

    partition: int
    number: int
    kind: str
    body: bytes


def published_numbers(client: Client, partitions: Iterable[int]) -> dict[int, int]:
    """Return the highest number in each partition's results stream.

    0 if there is no such stream, or its key holds another type.
    """
    asked = list(partitions)
    pipeline = client.pipeline(transaction=False)
    for partition in asked:
        pipeline.xinfo_stream(results_key(partition))
    return {p: _last_number(stream) for p, stream in zip(asked, pipeline.execute(raise_on_error=False), strict=True)}


def results_after(
    connection: Connection, partition: int, number: int, *, slack_s: float, most: int
) -> list[OutboxRow] | None:
    """Return the results after one: of its partition exactly, of the others from slack_s before it on, by number.

    None if that result is not stored any more, or if there are more than `most`.
    """
    values = {"partition": partition, "number": number, "slack_s": slack_s, "limit": most + 1}
    rows = [OutboxRow(*row) for row in connection.execute(query("results_after"), values)]
    if len(rows) > most or not connection.execute(query("result_exists"), values).fetchone():
        return None
    return rows


def _last_number(stream: dict[str, bytes] | Exception) -> int:
    if isinstance(stream, Exception):
        if "no such key" in str(stream) or is_foreign(stream):
            return 0
        raise stream
    return Position.parse(stream["last-generated-id"]).ms
