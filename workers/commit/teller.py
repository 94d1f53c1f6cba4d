"""Copies outbox rows to tickstock-results:{pN} and dead letters to tickstock-dlq. The tables are the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import structlog
from redis.exceptions import NoPermissionError, ResponseError

from ...contracts.names import DEAD_LETTERS, results_key
from ...db.look.foreign_keys import ForeignKeyWatch
from ...db.postgres import Database
from ...db.queries import query
from ...db.redis import Client, is_cluster, is_foreign, is_pause, node_of
from ...db.tables.results import published_numbers
from ...db.world import World
from ..partition.partition_state import Held
from .plan import PartitionPlan

log = structlog.get_logger()

_MAX_RESULTS = 100_000  # entries, even if nobody read them: the outbox has them
_MAX_DEAD_LETTERS = 100_000
_MAX_DEAD_LETTER_BYTES = 64 << 20  # of Redis's memory; the table has all of them
_PRUNE_EVERY = 256  # commits
_MOST_COPIED = 2**53  # far above every outbox number; somebody else wrote a higher id

OutboxMessage = tuple[int, str, bytes]  # (outbox number, kind, body)


class Teller:
    """Copies each partition's messages in the order of their outbox numbers; the number is the id of the entry."""

    def __init__(self, client: Client, database: Database, *, retention_s: float, world: World) -> None:
        self._world = world
        self._client = client
        self._database = database
        self._retention_s = retention_s
        self._behind: set[int] = set()
        self._copied: dict[int, int] = {}
        self._commits = 0
        self._unlettered: set[int] = set()  # partitions whose dead letters wait until the key is right again
        self._foreign_letters = ForeignKeyWatch(client, lambda _: {DEAD_LETTERS: "stream"}, world=world)

    def open(self, held: Held) -> Held:
        """Copy the outbox rows that the results stream lacks; return the partition with its last outbox number.

        If the stream has more than PostgreSQL (which came back from a backup), the outbox number jumps past the stream,
        and a row `void` names the numbers without a row.
        """
        (copied,) = published_numbers(self._client, [held.partition]).values()
        if copied > _MOST_COPIED:
            do = f"RENAME or DEL {results_key(held.partition)}; meanwhile the bridge takes the results from the outbox"
            log.error("results stream ends at an unknown id", partition=held.partition, id=copied, do=do)
            copied = held.outbox_number
        self._copied[held.partition] = copied
        if copied > held.outbox_number:
            held = self._jump(held, copied)
        self._behind.add(held.partition)
        self.catch_up()
        return held

    def leave(self, partition: int) -> None:
        """Stop copying a partition's results; its next restore copies the rest."""
        self._behind.discard(partition)
        self._unlettered.discard(partition)

    def tell(self, plans: list[PartitionPlan]) -> None:
        """Copy messages of a commit to Redis before the states advance. If Redis is full, `catch_up` does it later."""
        new: dict[int, list[OutboxMessage]] = {}
        for plan in plans:
            partition, first = plan.state.partition, plan.state.held.outbox_number + 1
            if plan.dead_letters or (plan.messages and partition in self._behind):
                self._behind.add(partition)
            elif plan.messages:
                new[partition] = [(first + i, kind, body) for i, (kind, body) in enumerate(plan.messages)]
        # A transaction of a cluster has keys of one node only.
        for some in [{p: rows} for p, rows in new.items()] if is_cluster(self._client) else [new]:
            self._send(some)
        self.catch_up()
        self._prune([plan.state.partition for plan in plans])

    def catch_up(self) -> None:
        """Copy rows from the tables that could not be copied before."""
        if self._foreign_letters.put_right():
            self._behind |= self._unlettered
            self._unlettered = set()
        for partition in sorted(self._behind):
            self._behind.discard(partition)
            values = {"partition": partition, "told": self._copied.get(partition, 0)}
            rows = self._database.connection.execute(query("untold_outbox"), values).fetchall()
            if rows:
                self._behind.add(partition)  # until a query finds no more rows
                if not self._send({partition: rows}):
                    continue
            if self._copy_dead_letters(partition):
                self._behind.add(partition)

    @property
    def is_behind(self) -> bool:
        """Tell whether committed rows wait to be copied."""
        return bool(self._behind or self._unlettered)

    def _send(self, messages: Mapping[int, Sequence[OutboxMessage]]) -> bool:
        """Add messages, by partition, in one MULTI/EXEC; return False if Redis has no room for them.

        Redis refuses an id that it has: that message was copied before.
        """
        if not messages:
            return True
        pipeline = node_of(self._client, results_key(min(messages))).pipeline(transaction=True)
        for partition, rows in messages.items():
            key = results_key(partition)
            for number, kind, body in rows:
                pipeline.execute_command(
                    "XADD", key, "MAXLEN", "~", _MAX_RESULTS, f"{number}-0", "kind", kind, "body", body
                )
        try:
            replies = pipeline.execute(raise_on_error=False)
        except ResponseError as e:
            if not is_pause(e):
                raise
            if new := messages.keys() - self._behind:
                log.warning("results wait for room in Redis", partitions=sorted(new), why=str(e))
            self._behind |= messages.keys()
            return False
        for reply in replies:
            if isinstance(reply, Exception) and "equal or smaller" not in str(reply):
                raise reply
        self._copied |= {partition: rows[-1][0] for partition, rows in messages.items()}
        return True

    def _jump(self, held: Held, copied: int) -> Held:
        """Set the outbox number above `copied`, the last id of the results stream."""
        connection = self._database.connection
        gap = {"from": held.outbox_number + 1, "to": copied}
        token = self._world.token()
        with connection.transaction():
            values = {"partition": held.partition, "number": copied + 1, "new_token": token, "token": held.token}
            if connection.execute(query("set_outbox_number"), values).fetchone() is None:
                return held  # another worker owns it: the next commit is refused
            row = {"partition": [held.partition], "number": [copied + 1], "kind": ["void"]}
            connection.execute(query("append_outbox"), row | {"body": [msgspec.json.encode(gap)]})
        log.warning("results are ahead of the database", partition=held.partition, **gap)
        return replace(held, token=token, outbox_number=copied + 1)

    def _copy_dead_letters(self, partition: int) -> bool:
        """Copy new dead letters to Redis; return whether there may be more to copy now."""
        if self._foreign_letters.left_out:
            self._unlettered.add(partition)
            return False
        connection = self._database.connection
        rows = connection.execute(query("untold_dead_letters"), {"partition": partition}).fetchall()
        if not rows:
            return False
        pipeline = self._client.pipeline(transaction=False)
        for number, producer, reason, detail, original in rows:
            letter = {"id": number, "partition": partition, "producer": producer, "reason": reason, "detail": detail}
            pipeline.xadd(DEAD_LETTERS, letter | {"original": original}, maxlen=_MAX_DEAD_LETTERS, approximate=True)
        pipeline.memory_usage(DEAD_LETTERS)
        *replies, used = pipeline.execute(raise_on_error=False)
        if refused := next((reply for reply in replies if isinstance(reply, NoPermissionError)), None):
            raise refused
        if any(is_foreign(reply) for reply in replies):
            self._foreign_letters.check([0])
        elif isinstance(used, int) and used > _MAX_DEAD_LETTER_BYTES:
            kept = int(self._client.xlen(DEAD_LETTERS) * 0.75 * _MAX_DEAD_LETTER_BYTES / used)
            self._client.xtrim(DEAD_LETTERS, maxlen=kept, approximate=False)
        copied = [row[0] for row, reply in zip(rows, replies, strict=True) if not isinstance(reply, Exception)]
        connection.execute(query("note_dead_letters_told"), {"ids": copied})
        return True

    def _prune(self, partitions: list[int]) -> None:
        self._commits += 1
        if self._commits % _PRUNE_EVERY:
            return
        for partition in partitions:
            values = {"partition": partition, "told": self._copied.get(partition, 0), "retention_s": self._retention_s}
            (unpassed,) = self._database.connection.execute(query("prune_outbox"), values).fetchone() or (0,)
            if unpassed:
                log.error("results deleted before a bridge published them", partition=partition, rows=unpassed)
