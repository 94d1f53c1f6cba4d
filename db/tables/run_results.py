"""Messages of runs: rows of the outbox with a partition of their own, and their results stream.

Any process that committed one may copy it to the stream, together with earlier ones. An entry's id is the row's number,
so that Redis refuses a second copy.
"""

from collections.abc import Sequence

import msgspec
import structlog
from redis.exceptions import ResponseError

from ...contracts.detection import Detection
from ...contracts.messages.message import Message
from ...contracts.messages.run_message import run_body
from ...contracts.names import RUNS, results_key
from ..postgres import Connection
from ..queries import query
from ..redis import Client, is_foreign, is_pause, node_of
from .results import published_numbers

log = structlog.get_logger()

_MAX_RESULTS = 100_000  # also unread ones: the outbox has them


def add_messages(connection: Connection, messages: Sequence[Message]) -> None:
    """Add messages of a run to a transaction, as its last statement: other writers wait until it ends."""
    if messages:
        connection.execute(query("add_run_result"), {"kind": "run", "body": run_body(messages)})


def add_detections(connection: Connection, detections: Sequence[Detection]) -> None:
    """Add detections to a transaction, published like live ones; as its last statement."""
    if detections:
        values = {"kind": "patterns", "body": msgspec.json.encode(detections)}
        connection.execute(query("add_run_result"), values)


class RunTeller:
    """Copies the runs' outbox to their results stream."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._told = 0

    def open(self, connection: Connection) -> None:
        """Raise the next number above all in the stream: a database restored from a backup would use them again."""
        (told,) = published_numbers(self._client, [RUNS]).values()
        with connection.transaction():
            (number,) = connection.execute(query("last_run_result")).fetchone() or (0,)
            if told > number:
                connection.execute(query("raise_run_result"), {"number": told})
                body = msgspec.json.encode({"from": number + 1, "to": told})
                connection.execute(query("add_run_result"), {"kind": "void", "body": body})
                log.warning("results of runs are ahead of the database", first=number + 1, last=told)

    def tell(self, connection: Connection) -> None:
        """Copy new rows to the stream. If Redis has no room, a later call or the bridge copies them."""
        (heard,) = published_numbers(self._client, [RUNS]).values()
        self._told = max(self._told, heard) if heard else 0
        values = {"partition": RUNS, "told": self._told}
        while rows := connection.execute(query("untold_outbox"), values).fetchall():
            key = results_key(RUNS)
            pipeline = node_of(self._client, key).pipeline(transaction=True)
            for number, kind, body in rows:
                entry = ("XADD", key, "MAXLEN", "~", _MAX_RESULTS, f"{number}-0", "kind", kind, "body", body)
                pipeline.execute_command(*entry)
            try:
                replies = pipeline.execute(raise_on_error=False)
            except ResponseError as e:
                if is_pause(e):
                    return
                raise
            if any(map(is_foreign, replies)):  # the bridge reads the outbox instead, until the key is correct again
                return
            for reply in replies:
                if isinstance(reply, Exception) and "equal or smaller" not in str(reply):
                    raise reply
            values["told"] = self._told = rows[-1][0]

    def prune(self, connection: Connection, retention_s: float) -> None:
        """Delete rows that were copied longer than retention_s ago."""
        values = {"partition": RUNS, "told": self._told, "retention_s": retention_s}
        connection.execute(query("prune_outbox"), values)
