"""Whether a start of Redis brings back all that its append-only file holds.

Redis (seen with 7.0 and 8.2; Valkey 9.1 is not hit) loads the file as its user `default`, and holds each command of a
MULTI/EXEC, and of a script, against the rights of that user: where `default` is locked out by rights, and not only by
`off`, they are dropped in silence, and the server is healthy and empty. The user that it needs:
`ops/secrets/redis_acl.py`.
"""

from redis.exceptions import NoPermissionError, ResponseError

from ...contracts.fleet.fleet_look import Replay
from ...contracts.names import DEAD_LETTERS, GROUP, flow_key, stream_key
from ...contracts.redis_rights import Call
from ..redis import Client

UNKNOWN = "whether a start of Redis brings everything back cannot be asked: the users' file is of an older version"
PRINT_AGAIN = "print it again (`tickstock redis-acl`, `tickstock secrets`) and ACL LOAD, before Redis is started again"

_ASKS_SINCE = 7  # before, an append-only file is loaded without any user
# What stands in the file for the commands of ours: reading of a group as XCLAIM, a time to live as a moment. On a key
# that is not ours too: the application's are loaded by the same user.
_REPLAYED: tuple[Call, ...] = (
    *(("MULTI",), ("EXEC",), ("SELECT", "0"), ("SET", "any key", "1"), ("PEXPIREAT", "any key", "1")),
    ("XADD", stream_key(0), "1-0", "f", "frame"),
    ("XTRIM", stream_key(0), "MINID", "0"),
    ("XDEL", stream_key(0), "1-0"),
    ("XSETID", stream_key(0), "1-0"),
    ("XACK", stream_key(0), GROUP, "1-0"),
    ("XCLAIM", stream_key(0), GROUP, "c", "0", "1-0"),
    ("XGROUP", "CREATE", stream_key(0), GROUP, "0"),
    ("XGROUP", "SETID", stream_key(0), GROUP, "0"),
    ("XGROUP", "DELCONSUMER", stream_key(0), GROUP, "c"),
    ("HSET", flow_key(0), "sent:p", "1,1"),
    ("HDEL", flow_key(0), "sent:p"),
    ("HINCRBY", flow_key(0), "sent:p", "1"),
    ("UNLINK", DEAD_LETTERS),
)


def replay_of(client: Client) -> Replay:
    """Ask one server. `whole` also where it has no such file; `unknown` where our user may not ask."""
    found = client.info()
    if not found.get("aof_enabled") or int(str(found["redis_version"]).partition(".")[0]) < _ASKS_SINCE:
        return "whole"
    pipeline = client.pipeline(transaction=False)
    for call in _REPLAYED:
        pipeline.execute_command("ACL", "DRYRUN", "default", *call)
    replies = pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, NoPermissionError) or (isinstance(reply, ResponseError) and "nknown" in str(reply)):
            return "unknown"
        if isinstance(reply, Exception):
            raise reply
    return "whole" if all(reply == b"OK" for reply in replies) else "drops"
