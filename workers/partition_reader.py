"""④ Reads the streams of the owned partitions, and sets a group back to the committed position."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import ResponseError

from ..contracts.bounds import MAX_FRAME_BYTES
from ..contracts.frames.frame import FIELD, TOO_LARGE
from ..contracts.names import GROUP, flow_key, renewal_keys, stream_key
from ..contracts.partition import START, Position
from ..db.redis import Client, is_cluster, is_exhausted, is_gone, is_out_of_memory, make_group, ms_of_time
from ..db.redis_connection import ReplyTooLarge
from ..db.streams.flow import done_values, sent_numbers
from ..db.world import World
from .partition.partition_state import PartitionState

log = structlog.get_logger()

Entries = list[tuple[bytes, bytes]]  # (entry id, frame bytes)

_ACK_CHUNK = 1000
_PAGE = 1000  # entries in one reply of a range
_SHORTENED_BYTES = 4 << 20  # about this many in one reply, when entries are read one by one

# One field of XINFO STREAM. Its whole reply contains two entries, which may be large.
_LAST_ID = """
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
end
"""

# Replaces an entry that is too large for a frame by its size. ARGV: the most bytes of one entry, the most bytes of all
# entries together, the mark of a replaced entry, the largest number of entries.
_SHORTENED = """
local function shortened(fields)
    local size = 0
    for _, part in ipairs(fields) do size = size + #part end
    if size > tonumber(ARGV[1]) then return {ARGV[3] .. string.format('%d', size)}, 100 end
    return fields, size + 100
end
local taken, size = {}, 0
while #taken < tonumber(ARGV[4]) and size < tonumber(ARGV[2]) do
    local entry = next_entry(taken)
    if not entry then break end
    local fields, its_size = shortened(entry[2])
    size = size + its_size
    taken[#taken + 1] = {entry[1], fields}
end
return taken
"""
# ARGV[5], [6]: group and consumer.
_READ_SHORTENED = (
    """
local function next_entry()
    local reply = redis.call('XREADGROUP', 'GROUP', ARGV[5], ARGV[6], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
    return reply and reply[1][2][1]
end
"""
    + _SHORTENED
)
# ARGV[5], [6]: the first id, and the last.
_RANGE_SHORTENED = (
    """
local function next_entry(taken)
    local last = #taken > 0 and taken[#taken][1]
    if last == '18446744073709551615-18446744073709551615' then return nil end -- the largest id: nothing can follow
    local first = last and '(' .. last or ARGV[5]
    return redis.call('XRANGE', KEYS[1], first, ARGV[6], 'COUNT', 1)[1]
end
"""
    + _SHORTENED
)

# XGROUP DELCONSUMER drops pending entries: so the check and the deletion are one step.
_DROP_IDLE_CONSUMERS = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local name, pending = consumer[2], consumer[4]
    if pending == 0 and name ~= ARGV[2] then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
    end
end
"""

# KEYS stream, aside, moving, next. ARGV group, the latest right id (ms), bytes in one step. Frames keep their order and
# their numbers, by which applied ones are dropped. Returns 1 when all entries have new ids.
_RENEW = """
local function move(from, most)
    local size = 0
    while size < most do
        local entry = redis.call('XRANGE', from, '-', '+', 'COUNT', 1)[1]
        if not entry then redis.call('DEL', from) return 1 end
        local last = math.min(#entry[2], 4000) -- Lua passes no more, and a frame is one field
        redis.call('XADD', KEYS[1], '*', unpack(entry[2], 1, last))
        redis.call('XDEL', from, entry[1])
        for i = 1, last do size = size + #entry[2][i] + 100 end
    end
    return 0
end
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
end
local waits = redis.call('EXISTS', KEYS[2]) == 1
if tonumber(string.match(last, '^%d+')) > tonumber(ARGV[2]) then
    redis.call('DEL', KEYS[4])
    redis.call('XGROUP', 'CREATE', KEYS[4], ARGV[1], '0', 'MKSTREAM') -- refused where there is no memory
    redis.call('RENAME', KEYS[1], waits and KEYS[3] or KEYS[2])
    redis.call('RENAME', KEYS[4], KEYS[1])
    if waits then move(KEYS[3], math.huge) end
end
return move(KEYS[2], tonumber(ARGV[3]))
"""
_MOVED_BYTES = 4 << 20
_MOST_STEPS = 100  # in one call: a lease must be renewed meanwhile


@dataclass(slots=True)
class Restoring:
    """A partition that is being restored.

    until, sent: the stream's last id and the producers' numbers when the restore began.
    """

    until: Position
    sent: dict[str, int]
    from_start: bool
    began: float  # monotonic time


@dataclass(frozen=True, slots=True)
class Look:
    """A partition in Redis after a read without entries: each producer's sent number, pending entries, the last id.

    aside: entries wait in another key for new ids (`renew`).
    """

    sent: dict[str, int]
    pending: int
    last_id: Position
    aside: bool


def pages_of(client: Client, partition: int, first: str, last: str) -> Iterator[Entries]:
    """Read a partition's stream from one id to another, in pages that are bounded in entries and in bytes."""
    while True:
        arguments = (MAX_FRAME_BYTES, _SHORTENED_BYTES, TOO_LARGE, _PAGE, first, last)
        page = client.execute_command("EVAL", _RANGE_SHORTENED, 1, stream_key(partition), *arguments)
        if not page:
            return
        yield [(entry_id, _body(entry)) for entry_id, entry in page]
        first = Position.parse(page[-1][0]).exclusive
        if not first.startswith("("):  # the largest id: nothing can follow
            return


class PartitionReader:
    """Reads through the consumer group. The group only shows the work to others: the committed position decides."""

    def __init__(self, client: Client, consumer: str, *, world: World, group: str = GROUP) -> None:
        self._world = world
        self._client = client
        self._consumer = consumer
        self._group = group
        self._restoring: dict[int, Restoring] = {}
        self.read_at_ms = 0  # Redis TIME of the last read
        self._large: set[int] = set()  # partitions whose entries do not fit into one reply

    @property
    def restoring(self) -> Mapping[int, Restoring]:
        """The partitions that are being restored."""
        return self._restoring

    def leave(self, partition: int) -> None:
        """End the restore of a partition that is not ours any more."""
        self._restoring.pop(partition, None)

    @property
    def one_by_one(self) -> AbstractSet[int]:
        """The partitions that are read entry by entry and may have further entries."""
        return self._large

    def read(self, partitions: Sequence[int], *, count: int) -> dict[int, Entries]:
        """Read new entries, at most `count` of each partition.

        TIME is asked after the read, in the same round trip: no entry came later than that.
        Raises ReplyTooLarge if somebody sent larger entries than our programs do. The reply is lost, so the caller must
        restore the partitions; they are read entry by entry until they have no more new entries.
        """
        found: dict[int, Entries] = {}
        for partition in self._large.intersection(partitions):
            found[partition] = self._read_shortened(partition, count)
            if not found[partition]:
                self._large.discard(partition)
        rest = [partition for partition in partitions if partition not in found]
        if not rest:
            self.read_at_ms = ms_of_time(self._client.time())
        try:
            found |= self._read_at_once(rest, count=count) if rest else {}
        except ReplyTooLarge:
            self._large.update(rest)
            raise
        return {partition: entries for partition, entries in found.items() if entries}

    def _read_shortened(self, partition: int, count: int) -> Entries:
        arguments = (MAX_FRAME_BYTES, _SHORTENED_BYTES, TOO_LARGE, count, self._group, self._consumer)
        taken = self._client.execute_command("EVAL", _READ_SHORTENED, 1, stream_key(partition), *arguments)
        return [(entry_id, _body(entry)) for entry_id, entry in taken]

    def _read_at_once(self, partitions: Sequence[int], *, count: int) -> dict[int, Entries]:
        keys = {stream_key(p).encode(): p for p in partitions}
        head = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", count, "STREAMS")
        pipeline = self._client.pipeline(transaction=False)
        if is_cluster(self._client):  # the streams are on several nodes
            for key in keys:
                pipeline.execute_command(*head, key, ">")
        else:
            pipeline.execute_command(*head, *keys, *([">"] * len(keys)))
        pipeline.time()
        *replies, time_of_read = pipeline.execute()
        self.read_at_ms = ms_of_time(time_of_read)
        found = [stream for reply in replies for stream in reply or ()]
        return {keys[key]: [(entry_id, _body(entry)) for entry_id, entry in entries] for key, entries in found}

    def past(self, state: PartitionState, between: Callable[[], None]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the stream's entries from its start to the last that was read. between: called after each page."""
        for page in pages_of(self._client, state.partition, "-", str(state.read_to)):
            yield from page
            between()

    def rewind(self, state: PartitionState, *, from_start: bool = False) -> Position:
        """Set the group back to the committed position, so that all later entries come again; return the stream's end.

        from_start: set it to the start of the stream; the frames' numbers show what is new. The same happens if the
        group or the stream is gone, or if the stream ends below the position. Pending entries up to the position are
        acked.
        """
        key = stream_key(state.partition)
        self._make_group(key)
        sent = sent_numbers(self._client.hgetall(flow_key(state.partition)))
        last = Position.parse(self._client.execute_command("EVAL", _LAST_ID, 1, key))
        from_start = from_start or last < state.position
        self._ack_pending(key, "-", str(state.position))
        start = START if from_start else state.position
        self._client.execute_command("XGROUP", "SETID", key, self._group, str(start))
        state.read_from(start)
        self._restoring[state.partition] = Restoring(last, sent, from_start, self._world.monotonic_s())
        return last

    def _make_group(self, key: str) -> None:
        """Make the group if it is missing. A full Redis refuses XGROUP CREATE even for an existing group."""
        try:
            if any(group["name"] == self._group.encode() for group in self._client.xinfo_groups(key)):
                return
        except ResponseError as e:
            if "no such key" not in str(e):
                raise
        make_group(self._client, key, self._group)

    def _ack_pending(self, key: str, first: str, last: str, keep: frozenset[bytes] = frozenset()) -> None:
        while True:
            rows = self._client.execute_command("XPENDING", key, self._group, first, last, _ACK_CHUNK)
            ids = [row[0] for row in rows if row[0] not in keep]
            if ids:
                self._client.xack(key, self._group, *ids)
            if len(rows) < _ACK_CHUNK:
                return
            first = Position.parse(rows[-1][0]).exclusive

    def restored(self, state: PartitionState, *, came_back_empty: bool) -> bool:
        """Tell whether a restore has read all entries that the stream held when the restore began.

        Then ack the pending entries that did not come: they were deleted.
        """
        restoring = self._restoring.get(state.partition)
        if restoring is None or (state.read_to < restoring.until and not came_back_empty):
            return False
        del self._restoring[state.partition]
        self._ack_pending(
            stream_key(state.partition),
            state.position.exclusive,
            str(restoring.until),
            frozenset(state.uncommitted.unacked),
        )
        state.pass_deleted(restoring.until)
        return True

    def look(self, partitions: Iterable[int]) -> dict[int, Look | None]:
        """Ask Redis about partitions without new entries; None if the stream or the group is gone."""
        partitions = list(partitions)
        pipeline = self._client.pipeline(transaction=False)
        for p in partitions:
            pipeline.hgetall(flow_key(p))
            pipeline.execute_command("EVAL", _LAST_ID, 1, stream_key(p))
            pipeline.xinfo_groups(stream_key(p))
            pipeline.exists(renewal_keys(p)[0])
        replies = pipeline.execute(raise_on_error=False)
        return {p: self._look(*replies[4 * i : 4 * i + 4]) for i, p in enumerate(partitions)}

    def _look(self, flow: Any, last_id: Any, groups: Any, aside: Any) -> Look | None:
        for reply in (flow, last_id, groups, aside):
            if isinstance(reply, Exception):
                if is_gone(reply):
                    return None
                raise reply
        group = next((g for g in groups if g["name"] == self._group.encode()), None)
        if group is None:
            return None
        return Look(sent_numbers(flow), int(group["pending"]), Position.parse(last_id), bool(aside))

    def renew(self, partition: int, latest_ms: int, *, refused: Sequence[str]) -> None:
        """Give a partition's entries new ids, because one has an id that is later than latest_ms (Unix ms).

        After such an id Redis accepts only higher ones, and after the largest id no entry at all. The caller must read
        the stream from its start. Entries that are left over are moved by the next call. refused: ids of entries to
        delete.
        """
        keys = (stream_key(partition), *renewal_keys(partition))
        log.warning("a stream gets new ids, one was ahead of time", partition=partition)
        for key in keys[:2] if refused else ():
            self._client.xdel(key, *refused)
        for _ in range(_MOST_STEPS):
            try:
                done = self._client.eval(_RENEW, len(keys), *keys, self._group, latest_ms, _MOVED_BYTES)
            except ResponseError as e:
                if is_out_of_memory(e) or is_exhausted(e):
                    return
                raise
            if done:
                return

    def ack(
        self, acked: dict[int, list[bytes]], done: dict[int, dict[str, int]], trim_to: dict[int, Position]
    ) -> str | None:
        """Ack committed entries, write each producer's `done` number, and trim the streams.

        Returns the error if Redis has no memory for the `done` numbers; acks and trims need none.
        """
        pipeline = self._client.pipeline(transaction=False)
        for p, ids in acked.items():
            for i in range(0, len(ids), _ACK_CHUNK):
                pipeline.xack(stream_key(p), self._group, *ids[i : i + _ACK_CHUNK])
        for p, numbers in done.items():
            if numbers:
                pipeline.hset(flow_key(p), mapping=done_values(numbers))
        for p, position in trim_to.items():
            pipeline.execute_command("XTRIM", stream_key(p), "MINID", "~", str(position))
        errors = [reply for reply in pipeline.execute(raise_on_error=False) if isinstance(reply, Exception)]
        for error in errors:
            if not is_out_of_memory(error):
                raise error
        return str(errors[0]) if errors else None

    def trim(self, partition: int, position: Position) -> None:
        """Delete every entry below a position."""
        self._client.execute_command("XTRIM", stream_key(partition), "MINID", "=", str(position))

    def drop_idle_consumers(self, partition: int) -> None:
        """Delete the group's other consumers without pending entries: former owners of this partition."""
        self._client.eval(_DROP_IDLE_CONSUMERS, 1, stream_key(partition), self._group, self._consumer)


def _body(entry: Sequence[bytes]) -> bytes:
    """Return the frame of an entry. An entry without one is returned as it is, for the dead letters."""
    return entry[1] if len(entry) == 2 and entry[0] == FIELD else b"\n".join(entry or ())
