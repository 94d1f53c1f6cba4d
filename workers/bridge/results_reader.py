"""tickstock-results:{pN} and the outbox -> the rows of each partition, in order, each once.

The stream is fast, the outbox is complete: a number missing in the stream (trimmed, lost, or refused by a full Redis)
is read from the outbox.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import structlog
from redis.exceptions import ResponseError

from ...contracts.names import BRIDGE_GROUP, results_key, results_keys
from ...contracts.partition import START, Position
from ...db.look.foreign_keys import ForeignKeyWatch
from ...db.postgres import Database
from ...db.queries import query
from ...db.redis import Client, is_cluster, is_foreign
from ...db.tables.results import OutboxRow
from ...db.world import World

log = structlog.get_logger()

_QUEUED = 4  # rows queued per partition, of at most 1,024 results each, so that an urgent row waits for few others
_CLUSTER_WAIT_S = 0.005  # after a read without result
_FETCHED = 64  # rows of the outbox per read
_ANY_NUMBER = 2**63 - 1


class _Void(msgspec.Struct):
    """The body of a `void` row: the numbers from..to have no row."""

    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")


_decode_void = msgspec.json.Decoder(_Void).decode


class ResultsReader:
    """Reads a few rows of each partition ahead. lost: numbers that neither the stream nor the outbox had.

    with_bars: rows of bars have their body, too, which the bridge does not need.
    """

    def __init__(self, client: Client, database: Database, *, world: World, with_bars: bool = False) -> None:
        self.lost = 0
        self._with_bars = with_bars
        self._world = world
        self._client = client
        self._database = database
        self._foreign = ForeignKeyWatch(client, results_keys, world=world)  # the outbox has their results
        self._odd: dict[int, Position] = {}  # the last skipped entry of a partition, logged already
        self.seek({})

    def seek(self, positions: Mapping[int, int]) -> None:
        """Continue after these numbers; drop the rows already read."""
        self._read_to = dict(positions)
        self._queues: dict[int, deque[OutboxRow]] = {}  # only partitions with rows
        self._silent: set[int] = set()  # partitions whose stream had nothing at the last read
        self._behind: set[int] = set()  # partitions whose outbox has rows that the stream lacks
        # the last id read in the stream
        self._at: dict[int, str] = {p: f"{number}-0" for p, number in positions.items()}
        self._shown: dict[int, int] = {}

    # -- rows out --------------------------------------------------------------------------------------------------

    @property
    def has_rows(self) -> bool:
        """Tell whether `next_row` has one."""
        return bool(self._queues)

    def next_row(self, *, only_urgent: bool) -> OutboxRow | None:
        """Take the next row of one of the partitions. All kinds except `indicators` are urgent and come first."""
        for partition, queue in self._queues.items():
            if queue[0].kind != "indicators":
                return self._pop(partition)
        return None if only_urgent or not self._queues else self._pop(next(iter(self._queues)))

    def _pop(self, partition: int) -> OutboxRow:
        queue = self._queues.pop(partition)
        row = queue.popleft()
        if queue:
            self._queues[partition] = queue  # at the end: other partitions come first
        return row

    # -- rows in ---------------------------------------------------------------------------------------------------

    def read(self, *, block_ms: int) -> None:
        """Read the partitions with few waiting rows; if no row waits at all, wait up to block_ms for one."""
        for partition in self._behind - self._queues.keys():
            self._read_outbox(partition)
        self._foreign.put_right()
        wanted = [p for p in self._read_to if len(self._queues.get(p, ())) < _QUEUED]
        self._silent |= set(wanted)
        keys = {results_key(p).encode(): p for p in wanted if p not in self._foreign.left_out}
        if not keys:
            self._world.sleep(0 if self._queues else block_ms / 1000)
            return
        try:
            reply = self._read_streams({key: self._at[p] for key, p in keys.items()}, block_ms)
        except ResponseError as e:
            if not is_foreign(e) or not self._foreign.check(keys.values()):
                raise
            return
        for key, entries in reply or ():
            self._add_entries(keys[key], entries)

    def _read_streams(self, ids: Mapping[bytes, str], block_ms: int) -> Any:
        if is_cluster(self._client):
            return self._read_each(ids)
        wait = () if self._queues else ("BLOCK", block_ms)
        return self._client.execute_command("XREAD", "COUNT", _QUEUED, *wait, "STREAMS", *ids, *ids.values())

    def _add_entries(self, partition: int, entries: Iterable[tuple[bytes, list[Any]]]) -> None:
        """Queue the stream's rows. Skip an entry that no worker wrote: the outbox has no such row."""
        for entry_id, fields in entries:
            row = self._row_of(partition, entry_id, fields)
            if row is None:
                self._pass_over(partition, entry_id.decode())
            elif row.kind == "void":
                self._behind.add(partition)  # it replaces other rows, so it counts only when read from the outbox
            elif not self._add(partition, [row]):
                return
            self._at[partition] = entry_id.decode()
            if row is not None and self._read_to[partition] >= row.number:
                self._silent.discard(partition)

    def _pass_over(self, partition: int, entry_id: str) -> None:
        position = Position.parse(entry_id)
        if position > self._odd.get(partition, START):  # it returns when the stream is read again
            log.warning("foreign entry in a results stream skipped", key=results_key(partition), id=entry_id)
            self._odd[partition] = position

    def _read_each(self, ids: Mapping[bytes, str]) -> list[Any]:
        """Read a cluster's streams one by one: they are on different nodes, and a pipeline cannot wait."""
        pipeline = self._client.pipeline(transaction=False)
        for key, at in ids.items():
            pipeline.execute_command("XREAD", "COUNT", _QUEUED, "STREAMS", key, at)
        found = [stream for reply in pipeline.execute() for stream in reply or ()]
        if not found and not self._queues:
            self._world.sleep(_CLUSTER_WAIT_S)
        return found

    def look_at_outbox(self) -> None:
        """Find outbox rows that the streams lack, for the next reads: not copied yet, or lost by Redis."""
        silent = {p: at for p, at in self._read_to.items() if p in self._silent and p not in self._queues}
        values = {"partitions": list(silent), "numbers": list(silent.values())}
        rows = self._database.connection.execute(query("partitions_with_unread_outbox"), values)
        self._behind |= {partition for (partition,) in rows}

    def _read_outbox(self, partition: int) -> None:
        rows = self._fetch(partition, self._read_to[partition] + 1, _ANY_NUMBER)
        if len(rows) < _FETCHED:
            self._behind.discard(partition)
        if rows:
            # Usually a worker has committed them and is about to copy them; otherwise Redis lost or refused them.
            log.debug(
                "results taken from the outbox before the stream brought them",
                partition=partition,
                through=rows[-1].number,
            )
        self._add(partition, rows, from_outbox=True)
        self._at[partition] = f"{self._read_to[partition]}-0"

    def _add(self, partition: int, rows: Iterable[OutboxRow], *, from_outbox: bool = False) -> bool:
        """Queue rows. If numbers before a row are missing, queue them from the outbox first.

        Return False in that case: then the rows after them are not queued.
        """
        for row in rows:
            first, last = self._read_to[partition] + 1, _last_missing_before(row)
            if first <= last:
                found = [] if from_outbox else self._fetch(partition, first, last)
                if found:
                    self._add(partition, found, from_outbox=True)
                    self._at[partition] = f"{self._read_to[partition]}-0"
                    return False
                if not from_outbox and not self._is_given(row):
                    self._pass_over(partition, f"{row.number}-0")
                    continue
                self._give_up(partition, first, last)
            if row.number >= first:
                self._queues.setdefault(partition, deque()).append(row)
                self._read_to[partition] = row.number
        return True

    def _is_given(self, row: OutboxRow) -> bool:
        """Tell whether the partition has reached this row number: another program may add an entry with any id."""
        numbers: dict[int, int] = dict(self._database.connection.execute(query("last_outbox_numbers")).fetchall())
        return row.number <= numbers.get(row.partition, 0)

    def _fetch(self, partition: int, first: int, last: int) -> list[OutboxRow]:
        values = {"partition": partition, "first": first, "last": last, "limit": _FETCHED}
        rows = self._database.connection.execute(query("outbox_between"), values)
        return [self._row(partition, number, kind, body) for number, kind, body in rows]

    def _row_of(self, partition: int, entry_id: bytes, fields: list[Any]) -> OutboxRow | None:
        """Return the row in an entry; None if a worker did not write it."""
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        number, sequence = Position.parse(entry_id)
        if sequence or not values.keys() >= {b"kind", b"body"}:
            return None
        return self._row(partition, number, values[b"kind"].decode(errors="replace"), values[b"body"])

    def _row(self, partition: int, number: int, kind: str, body: bytes) -> OutboxRow:
        return OutboxRow(partition, number, kind, b"" if kind == "bars" and not self._with_bars else bytes(body))

    def _give_up(self, partition: int, first: int, last: int) -> None:
        self.lost += last - first + 1
        log.warning("results lost", partition=partition, first=first, last=last)

    # -- shown to other tools ---------------------------------------------------------------------------------------

    def show_positions(self, positions: Mapping[int, int]) -> None:
        """Move the consumer group, which only shows the position to other tools (XINFO GROUPS). Errors are ignored."""
        pipeline = self._client.pipeline(transaction=False)
        for partition, number in positions.items():
            if self._shown.get(partition) != number:
                key = results_key(partition)
                pipeline.execute_command("XGROUP", "CREATE", key, BRIDGE_GROUP, "0")
                pipeline.execute_command("XGROUP", "SETID", key, BRIDGE_GROUP, f"{number}-0")
        pipeline.execute(raise_on_error=False)
        self._shown = dict(positions)


def _last_missing_before(row: OutboxRow) -> int:
    """Return the highest number below a row's own that should have a row."""
    return _decode_void(row.body).first - 1 if row.kind == "void" else row.number - 1
