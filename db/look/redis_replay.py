"""Check whether a restart of Redis will restore its whole append-only file.

Redis (seen with 7.0 and 8.2; Valkey 9.1 is not hit) loads the file as its user `default`, and checks each command of a
MULTI/EXEC or of a script against that user's rights. If `default` has no rights (and not only `off`), they are dropped
without an error: the server is healthy and empty. The user that it needs: `ops/secrets/redis_acl.py`.
"""

from redis.exceptions import NoPermissionError, ResponseError

from ...contracts.fleet.fleet_look import Replay
from ...contracts.names import DEAD_LETTERS, GROUP, flow_key, stream_key
from ...contracts.redis_rights import Call
from ..redis import Client

UNKNOWN = "whether a restart of Redis restores everything is unknown: the users' file is too old"
PRINT_AGAIN = "create it again (`tickstock redis-acl`, `tickstock secrets`) and ACL LOAD, before Redis restarts"

_ASKS_SINCE = 7  # older versions load an append-only file without a user
# Our commands as the file holds them: group reads as XCLAIM, times to live as PEXPIREAT. Also on a key of the
# application, because the same user loads its keys.
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
    """Check one server. `whole` also if it has no such file; `unknown` if our user may not check."""
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
