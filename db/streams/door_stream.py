"""The front door's stream in Redis: bounded reads, and a rebuild when an entry's id is not a valid number.

Any client may choose the id of its entry, and a stream's last id never decreases. After an id that is too large, the
stream is rebuilt in one step: entries that were read keep their ids, which are their numbers; the entries from the bad
id on get new ids by Redis's clock, each in the step that removes the old one. If a sender chose an invalid id, its
entry is marked with that id and refused later; entries after it, with ids given by Redis (`*`), are accepted.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from ...contracts.door import MARK, Fields
from ...contracts.names import DOOR_ASIDE, DOOR_MOVING, DOOR_NEXT, DOOR_OWNER, FRONT_DOOR
from ...contracts.partition import START, Position
from ..redis import Client, is_exhausted, ms_of_time

_COPY_ENTRIES = 1000  # in one script, which stops the server for some milliseconds
_COPY_BYTES = 4 << 20
_STEPS = 10  # scripts in one call: a worker's turn must not take long
_MOST_VALUES = 4000  # names and values of a copied entry: Lua passes no more, and no tick has so many
_SHOWN_BYTES = 65_536
_KEYS = (FRONT_DOOR, DOOR_NEXT, DOOR_ASIDE, DOOR_OWNER, DOOR_MOVING)

# All scripts: KEYS door, next, aside, owner, moving; ARGV[1] the epoch of the owner's lease.
_FENCE = "if redis.call('GET', KEYS[4]) ~= ARGV[1] then return redis.error_reply('FENCED the front door') end\n"

# XINFO without its two example entries, which may be large. {} if there is no stream.
_ABOUT = """
local function about(key)
    local of = {}
    if redis.call('EXISTS', key) == 1 then
        local info = redis.call('XINFO', 'STREAM', key)
        for i = 1, #info, 2 do of[info[i]] = info[i + 1] end
    end
    return of
end
"""

# Give the entries of one key new ids in another. `after`: the id before the first of them, as (ms, seq).
_MOVE = (
    _ABOUT
    + """
local function split(id) local ms, seq = string.match(id, '^(%d+)-(%d+)$') return ms, tonumber(seq) end
local function follows(id, before)
    local ms, seq = split(id)
    local before_ms, before_seq = split(before)
    return ms == before_ms and seq == before_seq + 1
end
local function is_chosen(id, after, deleted)
    local ms, seq = split(id)
    if tonumber(ms) <= tonumber(ARGV[6]) and seq < 1048576 then return false end
    return not follows(id, after) and not follows(id, deleted)
end
local function move(from, after, most)
    local deleted = about(from)['max-deleted-entry-id'] or after
    local moved, size = 0, 0
    while moved < most and size < tonumber(ARGV[3]) do
        local entry = redis.call('XRANGE', from, '-', '+', 'COUNT', 1)[1]
        if not entry then redis.call('DEL', from) return after, 1 end
        local id, fields = entry[1], entry[2]
        local last = math.min(#fields, tonumber(ARGV[4]))
        if is_chosen(id, after, deleted) then
            redis.call('XADD', KEYS[1], '*', ARGV[5], id, unpack(fields, 1, last))
        else
            redis.call('XADD', KEYS[1], '*', unpack(fields, 1, last))
        end
        redis.call('XDEL', from, id)
        after, moved = id, moved + 1
        for i = 1, last do size = size + #fields[i] end
    end
    return after, 0
end
"""
)

# ARGV: epoch. Returns the registered epoch if it is higher: it belongs to a newer database than ours. A value with more
# digits than Lua's whole numbers is not an epoch.
_REGISTER = """
local said = redis.call('GET', KEYS[4]) or ''
local held = string.match(said, '^%d+$') and #said <= 15 and tonumber(said) or 0
if held > tonumber(ARGV[1]) then return held end
redis.call('SET', KEYS[4], ARGV[1])
return 0
"""

# ARGV: epoch, group.
_STATE = (
    _ABOUT
    + """
local info = about(KEYS[1])
if not info['last-generated-id'] then return {0} end
local group, read = '', -1
for _, each in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local of = {}
    for i = 1, #each, 2 do of[each[i]] = each[i + 1] end
    if of['name'] == ARGV[2] then group, read = of['last-delivered-id'], of['entries-read'] or -1 end
end
local aside = redis.call('EXISTS', KEYS[3])
return {1, info['last-generated-id'], info['length'], info['entries-added'] or -1, group, read, aside}
"""
)

# ARGV: epoch, after, bytes, values, through, entries.
_COPY = (
    _FENCE
    + """
local after, copied, size = ARGV[2], 0, 0
while copied < tonumber(ARGV[6]) and size < tonumber(ARGV[3]) do
    local entry = redis.call('XRANGE', KEYS[1], '(' .. after, ARGV[5], 'COUNT', 1)[1]
    if not entry then return {after, 1, copied} end
    local fields = entry[2]
    local last = math.min(#fields, tonumber(ARGV[4]))
    redis.call('XADD', KEYS[2], entry[1], unpack(fields, 1, last))
    after, copied = entry[1], copied + 1
    for i = 1, last do size = size + #fields[i] end
end
return {after, 0, copied}
"""
)

# ARGV: epoch, after, bytes, values, mark, latest number (ms), entries, first id to move, group, its position, last id.
# Returns entries-added of the former stream (-1: unknown), the number of its entries that are moved, and how far. If
# entries wait aside already, those are moved later, and the new ones are all moved in this step.
_SWAP = (
    _FENCE
    + _MOVE
    + """
-- First the command that needs memory: if the server refuses it, nothing has changed.
if redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[9], ARGV[10], 'MKSTREAM', 'ENTRIESREAD', 0).err then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[9], ARGV[10], 'MKSTREAM') -- a server before 7.0 does not count
end
redis.call('XSETID', KEYS[2], ARGV[11])
local added = about(KEYS[1])['entries-added'] or -1
local waits = redis.call('EXISTS', KEYS[3]) == 1
local from = waits and KEYS[5] or KEYS[3]
local moved = 0
if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('RENAME', KEYS[1], from)
    redis.call('XTRIM', from, 'MINID', '=', ARGV[8])
    moved = redis.call('XLEN', from)
end
redis.call('RENAME', KEYS[2], KEYS[1])
local after, done = ARGV[2], 1
if moved > 0 then
    if waits then ARGV[3] = '1e15' end
    after, done = move(from, after, waits and moved + 1 or tonumber(ARGV[7]))
elseif redis.call('EXISTS', from) == 1 then
    redis.call('DEL', from)
end
return {added, moved, after, done}
"""
)

# ARGV: epoch, after, bytes, values, mark, latest number (ms), entries.
_GO_ON = (
    _FENCE
    + _MOVE
    + """
local after, done = move(KEYS[3], ARGV[2], tonumber(ARGV[7]))
return {after, done}
"""
)

# ARGV: epoch, after, bytes shown. Returns one entry's id, its size, and the first bytes of its fields.
_PEEK = """
local entry = redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', 1)[1]
if not entry then return {} end
local size, shown, most = 0, {}, tonumber(ARGV[3])
for i, value in ipairs(entry[2]) do
    if size < most then shown[#shown + 1] = string.sub(value, 1, most - size) end
    size = size + #value
end
return {entry[1], size, table.concat(shown, ' ')}
"""


class DoorState(NamedTuple):
    """The state of the stream. added: entries ever added, None if the server does not count.

    group: position of our group, None if there is none; counted: entries added up to there. aside: entries wait for new
    ids.
    """

    last: Position
    length: int
    added: int | None
    group: Position | None
    counted: int | None
    aside: bool


class Read(NamedTuple):
    """Entries in order, the stream's state in the same moment (None: it does not exist), and the time of the read."""

    entries: list[tuple[bytes, Fields]]
    state: DoorState | None
    at_ms: int


class Giant(NamedTuple):
    """An entry that is too large to read. beginning: the first bytes of its fields."""

    position: Position
    size: int
    beginning: bytes


class Swapped(NamedTuple):
    """added: entries ever added to the former stream, None: unknown. moved: the number that get new ids."""

    added: int | None
    moved: int


class Copied(NamedTuple):
    """after: the last copied position; entries: their number; is_done: nothing is left to copy."""

    after: Position
    entries: int
    is_done: bool


class DoorStream:
    """The stream, for its one owner. client: its own client with bounded replies; group: its consumer group."""

    def __init__(self, client: Client, *, group: str) -> None:
        self._client = client
        self._group = group
        self._epoch = 0
        self._moved_to: bytes | None = None  # former id of the last entry with a new one, while more wait

    def close(self) -> None:
        """Close the connection; it is opened again by the next use."""
        self._client.close()

    def register(self, epoch: int) -> int:
        """Register the owner's epoch, so that no former owner can rebuild the stream.

        Return a higher registered epoch, or 0.
        """
        self._epoch, self._moved_to = epoch, None
        return int(self._run(_REGISTER))

    def state(self) -> DoorState | None:
        """Read the state of the stream; None if it does not exist."""
        return _door_state(self._run(_STATE, self._group))

    def make(self, *, counted: int | None) -> None:
        """Create the stream, or its group. counted: number of entries that were added before those it holds."""
        command = ("XGROUP", "CREATE", FRONT_DOOR, self._group, "0", "MKSTREAM")
        try:
            self._client.execute_command(*command, "ENTRIESREAD", -1 if counted is None else counted)
        except ResponseError as e:
            if str(e).startswith("BUSYGROUP"):
                return
            if "syntax" not in str(e).lower() and "unknown" not in str(e).lower():
                raise
            self._client.execute_command(*command)  # a server before 7.0 does not count

    def set_last(self, last: Position) -> None:
        """Make sure that no entry gets an id that was given before."""
        self._client.execute_command("XSETID", FRONT_DOOR, str(last))

    def read(self, after: Position, count: int) -> Read:
        """Read entries after an id. Raises ReplyTooLarge: nothing is read, ask for fewer."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.execute_command("MULTI")
        pipeline.execute_command("XREAD", "COUNT", count, "STREAMS", FRONT_DOOR, str(after))
        self._queue(pipeline, _STATE, self._group)
        pipeline.execute_command("TIME")
        pipeline.execute_command("EXEC")
        *queued, replies = pipeline.execute(raise_on_error=False)
        for reply in (*queued, replies, *(replies if isinstance(replies, list) else ())):
            if isinstance(reply, Exception):
                raise reply
        found, state, time_of_read = replies
        return Read(found[0][1] if found else [], _door_state(state), ms_of_time(time_of_read))

    def peek(self, after: Position) -> Giant | None:
        """Return the id, size and beginning of the first entry after an id, without reading all of it."""
        found = self._run(_PEEK, after, _SHOWN_BYTES)
        return Giant(Position.parse(found[0]), int(found[1]), found[2]) if found else None

    def move_group(self, position: Position, counted: int | None) -> None:
        """Record how far the door is applied, and trim applied entries.

        counted: as in DoorState; stored in the group.
        """
        pipeline = self._client.pipeline(transaction=False)
        said = () if counted is None else ("ENTRIESREAD", counted)
        pipeline.execute_command("XGROUP", "SETID", FRONT_DOOR, self._group, str(position), *said)
        pipeline.execute_command("XTRIM", FRONT_DOOR, "MINID", "~", str(position))
        pipeline.execute()

    def begin_copy(self) -> None:
        """Start the stream that will replace this one."""
        self._client.unlink(DOOR_NEXT)

    def copy(self, after: Position, through: Position) -> Copied:
        """Copy some entries of (after, through] into the new stream, with their ids."""
        kept, done = 0, 0
        for _ in range(_STEPS):
            reached, done, copied = self._run(_COPY, after, _COPY_BYTES, _MOST_VALUES, through, _COPY_ENTRIES)
            after, kept = Position.parse(reached), kept + int(copied)
            if done:
                break
        return Copied(after, kept, bool(done))

    def swap(self, kept_after: Position, through: Position, most_ms: int) -> Swapped:
        """Replace the stream by the copy of (kept_after, through]; all later entries get new ids.

        most_ms: a later id that does not follow the one before was chosen by its sender.
        """
        return self._swap(kept_after, through, most_ms, first=through.after())

    def replace(self, last: Position, most_ms: int) -> Swapped:
        """Give new ids, above `last`, to all entries: the stream is not the one that was read."""
        self.begin_copy()
        return self._swap(last, last, most_ms, first=START.after())

    def _swap(self, group_at: Position, last: Position, most_ms: int, *, first: Position) -> Swapped:
        move = (last, _COPY_BYTES, _MOST_VALUES, MARK, most_ms, _COPY_ENTRIES)
        added, moved, self._moved_to, _ = self._run(_SWAP, *move, first, self._group, group_at, last)
        return Swapped(int(added) if added >= 0 else None, int(moved))

    def go_on_moving(self, cursor: Position, most_ms: int) -> None:
        """Give new ids to some entries that wait aside. If the stream has no id left, do nothing: it is rebuilt again.

        cursor: the last entry that was read; an id that follows it was not chosen by a sender.
        """
        after = self._moved_to or cursor
        for _ in range(_STEPS):
            move = (after, _COPY_BYTES, _MOST_VALUES, MARK, most_ms, _COPY_ENTRIES)
            try:
                after, done = self._run(_GO_ON, *move)
            except ResponseError as e:
                if not is_exhausted(e):
                    raise
                return
            self._moved_to = None if done else after
            if done:
                return

    def _run(self, script: str, *values: Any) -> Any:
        return self._client.execute_command("EVAL", script, len(_KEYS), *_KEYS, self._epoch, *map(_as_argument, values))

    def _queue(self, pipeline: Any, script: str, *values: Any) -> None:
        pipeline.execute_command("EVAL", script, len(_KEYS), *_KEYS, self._epoch, *map(_as_argument, values))


def _as_argument(value: Any) -> Any:
    return str(value) if isinstance(value, Position) else value


def _door_state(found: Sequence[Any]) -> DoorState | None:
    if not found[0]:
        return None
    _, last, length, added, group, counted, aside = found
    return DoorState(
        Position.parse(last),
        int(length),
        int(added) if added >= 0 else None,
        Position.parse(group) if group else None,
        int(counted) if counted >= 0 else None,
        bool(aside),
    )
