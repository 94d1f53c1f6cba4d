"""The front door's stream in Redis: read within bounds, and built anew where an id in it is no number of ours.

Ids are chosen by whoever XADDs, and a stream's last id never goes down. So where one is out of all bounds the stream is
built anew in one step: entries that were read keep their ids, which are their numbers; those from the bad id on get new
ones, by Redis's clock, each in the step that takes the old one away. An id that its sender chose becomes the mark of an
entry to be refused; one that only followed (`*` counts on behind it) costs nothing.
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
_MOST_VALUES = 4000  # names and values of an entry that is copied: Lua passes no more, and no tick has as many
_SHOWN_BYTES = 65_536
_KEYS = (FRONT_DOOR, DOOR_NEXT, DOOR_ASIDE, DOOR_OWNER, DOOR_MOVING)

# All scripts: KEYS door, next, aside, owner, moving; ARGV[1] the epoch of the owner's lease.
_FENCE = "if redis.call('GET', KEYS[4]) ~= ARGV[1] then return redis.error_reply('FENCED the front door') end\n"

# What XINFO says without the two entries that it shows, which may be large. {} where there is no stream.
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

# Entries of one key get new ids in another. `after`: the id before the first of them, as (ms, seq).
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

# ARGV: epoch. Returns the epoch that stands there if it is higher: that of a database that is newer than ours. What has
# more digits than a whole number of Lua's holds is no epoch of ours, and nobody's.
_REGISTER = """
local said = redis.call('GET', KEYS[4]) or ''
local held = string.match(said, '^%d+$') and #said <= 15 and tonumber(said) or 0
if held > tonumber(ARGV[1]) then return held end
redis.call('SET', KEYS[4], ARGV[1])
return 0
"""

# ARGV: epoch, group.
_LOOK = (
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
# Returns entries-added of the stream that was there (-1: unknown), how many entries of it are moved, and how far.
# What is aside already is moved later; then nothing more may wait there, and all is moved in this step.
_SWAP = (
    _FENCE
    + _MOVE
    + """
-- What needs memory comes first: a server that has none refuses it, and nothing has changed.
if redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[9], ARGV[10], 'MKSTREAM', 'ENTRIESREAD', 0).err then
    redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[9], ARGV[10], 'MKSTREAM') -- a server before 7.0, which does not count
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

# ARGV: epoch, after, bytes shown. One entry's id, its size, and the beginning of its fields.
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


class Look(NamedTuple):
    """What the stream says of itself. added: entries ever added to it, None where the server does not count.

    group: up to where our group stands, None where there is none; counted: how many entries were added up to there.
    aside: entries wait for new ids.
    """

    last: Position
    length: int
    added: int | None
    group: Position | None
    counted: int | None
    aside: bool


class Read(NamedTuple):
    """Entries in order, what the stream said of itself in the same moment (None: it is gone), and when that was."""

    entries: list[tuple[bytes, Fields]]
    look: Look | None
    at_ms: int


class Giant(NamedTuple):
    """An entry that is too large to be read. beginning: of its fields."""

    position: Position
    size: int
    beginning: bytes


class Swapped(NamedTuple):
    """added: entries that the former stream ever had, None: unknown. moved: those of them that get new ids."""

    added: int | None
    moved: int


class Copied(NamedTuple):
    """after: up to where; entries: how many of them; is_done: those are all."""

    after: Position
    entries: int
    is_done: bool


class DoorStream:
    """The stream, for its one owner. client: one of its own, whose replies are bounded; group: its consumer group."""

    def __init__(self, client: Client, *, group: str) -> None:
        self._client = client
        self._group = group
        self._epoch = 0
        self._moved_to: bytes | None = None  # the former id of the last entry that got a new one, if more wait

    def close(self) -> None:
        """Close the connection; it is opened again by the next use."""
        self._client.close()

    def register(self, epoch: int) -> int:
        """Say whose the door is, so that no former owner builds it anew; return a higher epoch that is there, or 0."""
        self._epoch, self._moved_to = epoch, None
        return int(self._run(_REGISTER))

    def look(self) -> Look | None:
        """Read the state of the stream; None if it does not exist."""
        return _look(self._run(_LOOK, self._group))

    def make(self, *, counted: int | None) -> None:
        """Make the stream, or its group. counted: how many entries were added to it before any of those it holds."""
        command = ("XGROUP", "CREATE", FRONT_DOOR, self._group, "0", "MKSTREAM")
        try:
            self._client.execute_command(*command, "ENTRIESREAD", -1 if counted is None else counted)
        except ResponseError as e:
            if str(e).startswith("BUSYGROUP"):
                return
            if "syntax" not in str(e).lower() and "unknown" not in str(e).lower():
                raise
            self._client.execute_command(*command)  # a server before 7.0, which does not count

    def set_last(self, last: Position) -> None:
        """Let no entry get an id that was given before."""
        self._client.execute_command("XSETID", FRONT_DOOR, str(last))

    def read(self, after: Position, count: int) -> Read:
        """Read entries behind an id. Raises ReplyTooLarge; then nothing is read, and fewer are to be asked for."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.execute_command("MULTI")
        pipeline.execute_command("XREAD", "COUNT", count, "STREAMS", FRONT_DOOR, str(after))
        self._queue(pipeline, _LOOK, self._group)
        pipeline.execute_command("TIME")
        pipeline.execute_command("EXEC")
        *queued, replies = pipeline.execute(raise_on_error=False)
        for reply in (*queued, replies, *(replies if isinstance(replies, list) else ())):
            if isinstance(reply, Exception):
                raise reply
        found, look, time_of_read = replies
        return Read(found[0][1] if found else [], _look(look), ms_of_time(time_of_read))

    def peek(self, after: Position) -> Giant | None:
        """Look at the first entry behind an id without reading it."""
        found = self._run(_PEEK, after, _SHOWN_BYTES)
        return Giant(Position.parse(found[0]), int(found[1]), found[2]) if found else None

    def move_group(self, position: Position, counted: int | None) -> None:
        """Show how far the door is applied, and let go of what is. counted: as in Look; kept with the stream itself."""
        pipeline = self._client.pipeline(transaction=False)
        said = () if counted is None else ("ENTRIESREAD", counted)
        pipeline.execute_command("XGROUP", "SETID", FRONT_DOOR, self._group, str(position), *said)
        pipeline.execute_command("XTRIM", FRONT_DOOR, "MINID", "~", str(position))
        pipeline.execute()

    def begin_copy(self) -> None:
        """Begin a stream that will take the place of this one."""
        self._client.unlink(DOOR_NEXT)

    def copy(self, after: Position, through: Position) -> Copied:
        """Copy some entries of (after, through] into it, under their ids."""
        kept, done = 0, 0
        for _ in range(_STEPS):
            reached, done, copied = self._run(_COPY, after, _COPY_BYTES, _MOST_VALUES, through, _COPY_ENTRIES)
            after, kept = Position.parse(reached), kept + int(copied)
            if done:
                break
        return Copied(after, kept, bool(done))

    def swap(self, kept_after: Position, through: Position, most_ms: int) -> Swapped:
        """Put the copy of (kept_after, through] in the stream's place; all entries behind get new ids.

        most_ms: an id above it that follows no other was chosen by its sender.
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
        """Give new ids to some of what waits aside, unless the stream has no more: then it is built anew once more.

        cursor: the last entry that was read; what follows it was not chosen.
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
        return self._client.execute_command("EVAL", script, len(_KEYS), *_KEYS, self._epoch, *map(_said, values))

    def _queue(self, pipeline: Any, script: str, *values: Any) -> None:
        pipeline.execute_command("EVAL", script, len(_KEYS), *_KEYS, self._epoch, *map(_said, values))


def _said(value: Any) -> Any:
    return str(value) if isinstance(value, Position) else value


def _look(found: Sequence[Any]) -> Look | None:
    if not found[0]:
        return None
    _, last, length, added, group, counted, aside = found
    return Look(
        Position.parse(last),
        int(length),
        int(added) if added >= 0 else None,
        Position.parse(group) if group else None,
        int(counted) if counted >= 0 else None,
        bool(aside),
    )
