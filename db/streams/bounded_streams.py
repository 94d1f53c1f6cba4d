"""Bounded reads of streams: any sender may have put an entry of any size into them.

A script on the server reads them, so that only ids, or entries of a valid size, are sent. The key is an argument and
not one of the script's KEYS: those need the right to write, which readers do not have. It is in the position where the
cluster client looks for the key of a script.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from ...contracts.bounds import MAX_FRAME_BYTES, READ_BYTES
from ...contracts.partition import Position
from ..redis import Client

_PAGE_ENTRIES = 500
_NAMES_BYTES = 1_024  # of the fields of a frame
_WHERE_IN_SCRIPT = re.compile(r" script: .*on @user_script.*")  # Redis appends this; it does not help the reader
_COUNTED_AT_ONCE = 1_000  # entries in one script, which stops the server for less than a millisecond

# ARGV: the stream, a first id. Returns the length, the last generated id, and the first entry's id from the first id
# on.
_ENDS = """
local info = redis.pcall('XINFO', 'STREAM', ARGV[1])
if info.err then
    if string.find(info.err, 'no such key') then return {0} end
    return info
end
local of = {}
for i = 1, #info, 2 do of[info[i]] = info[i + 1] end
local entry = redis.call('XRANGE', ARGV[1], ARGV[2], '+', 'COUNT', 1)[1]
return {of['length'], of['last-generated-id'], entry and entry[1]}
"""

# ARGV: the stream, first and last id, the largest count. Returns the count of entries, and the last one's id.
_COUNT = """
local count, first, last = 0, ARGV[2], ''
while count < tonumber(ARGV[4]) do
    local entry = redis.call('XRANGE', ARGV[1], first, ARGV[3], 'COUNT', 1)[1]
    if not entry then break end
    count, last = count + 1, entry[1]
    first = '(' .. last
end
return {count, last}
"""

# ARGV: the stream, a first id, the largest count, the largest size of a valid entry, bytes in all. A larger entry is
# returned as its id alone.
_PAGE = """
local page, first, size = {}, ARGV[2], 0
while #page < tonumber(ARGV[3]) and size < tonumber(ARGV[5]) do
    local entry = redis.call('XRANGE', ARGV[1], first, '+', 'COUNT', 1)[1]
    if not entry then return {page, 1} end
    local bytes = 0
    for _, part in ipairs(entry[2]) do bytes = bytes + #part end
    if bytes > tonumber(ARGV[4]) then entry, bytes = {entry[1], {}}, 0 end
    page[#page + 1], size, first = entry, size + bytes, '(' .. entry[1]
end
return {page, 0}
"""


class StreamEnds(NamedTuple):
    """last: the last generated id; None if there is no stream. first: id of the first entry from the start id on."""

    length: int
    last: Position | None
    first: Position | None


def read_ends(client: Client, starts: Sequence[tuple[str, str]]) -> list[StreamEnds | Exception]:
    """Read the ends of streams. starts: each key, with a start id as XRANGE takes it.

    An error of one stream alone (a key of another type) is returned in its place. Raises if Redis is away or refuses
    us.
    """
    return [reply if isinstance(reply, Exception) else _ends(reply) for reply in _run(client, _ENDS, starts)]


def count_up_to(client: Client, key: str, last: Position) -> int:
    """Count the entries of a stream up to an id. Raises Redis's error."""
    count, first = 0, "-"
    while True:
        found, at = _run_once(client, _COUNT, (key, first, str(last), _COUNTED_AT_ONCE))
        count += int(found)
        if found < _COUNTED_AT_ONCE:
            return count
        first = f"({at.decode()}"


def read_all(client: Client, key: str) -> Iterator[tuple[bytes, Sequence[bytes]]]:
    """Yield each entry of a stream: its id, and names and values in turn; no fields if it is too large to be valid."""
    first, is_end = "-", 0
    while not is_end:
        page, is_end = _run_once(client, _PAGE, (key, first, _PAGE_ENTRIES, MAX_FRAME_BYTES + _NAMES_BYTES, READ_BYTES))
        for entry_id, fields in page:
            first = f"({entry_id.decode()}"
            yield entry_id, fields


def _run_once(client: Client, script: str, call: tuple[Any, ...]) -> Any:
    (reply,) = _run(client, script, [call])
    if isinstance(reply, Exception):
        raise reply
    return reply


def _ends(reply: list[Any]) -> StreamEnds:
    length, last, first = [*reply, None, None][:3]
    return StreamEnds(length, Position.parse(last) if last else None, Position.parse(first) if first else None)


def _run(client: Client, script: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run a script once per call. Some users may use EVAL, others only load a script and use EVALSHA."""
    sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    replies = _send(client, "EVALSHA", sha, calls)
    if any(isinstance(reply, NoScriptError) for reply in replies):
        client.script_load(script)
        replies = _send(client, "EVALSHA", sha, calls)
    if any(isinstance(reply, NoPermissionError) for reply in replies):
        replies = _send(client, "EVAL", script, calls)
    for reply in replies:
        if isinstance(reply, NoPermissionError | NoScriptError):
            raise reply
        if isinstance(reply, ResponseError):
            reply.args = (_WHERE_IN_SCRIPT.sub("", str(reply)),)
    return replies


def _send(client: Client, command: str, script: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command(command, script, 0, *call)
    return list(pipeline.execute(raise_on_error=False))
