"""The Redis commands in use, with the types of their replies, so that mypy checks each call."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Self

Text = str | bytes
Value = str | bytes | int | float
Fields = Mapping[Any, Value]  # of a hash or a stream entry; its keys are Text (a Mapping's key type is invariant)


class Pipeline(Protocol):
    """Commands that go out together. Each call only keeps its command; `execute` returns the replies in their order."""

    def execute_command(self, *args: Value, **options: Any) -> object:
        """Keep any command, in the words of Redis."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send all; raise the first error that Redis answered, or return it in its place."""

    def exists(self, *names: Text) -> object:
        """EXISTS."""

    def expire(self, name: Text, time: int) -> object:
        """EXPIRE, in seconds."""

    def hdel(self, name: Text, *keys: Text) -> object:
        """HDEL."""

    def hgetall(self, name: Text) -> object:
        """HGETALL: a dict."""

    def hmget(self, name: Text, keys: list[str]) -> object:
        """HMGET: a list of bytes or None."""

    def hset(self, name: Text, *, mapping: Fields) -> object:
        """HSET."""

    def memory_usage(self, key: Text) -> object:
        """MEMORY USAGE: bytes, or None."""

    def persist(self, name: Text) -> object:
        """PERSIST."""

    def time(self) -> object:
        """TIME: see redis.ms_of_time."""

    def unlink(self, *names: Text) -> object:
        """UNLINK."""

    def xack(self, name: Text, groupname: Text, *ids: Text) -> object:
        """XACK."""

    def xadd(self, name: Text, fields: Fields, *, maxlen: int | None = None, approximate: bool = True) -> object:
        """XADD."""

    def xdel(self, name: Text, *ids: Text) -> object:
        """XDEL."""

    def xinfo_groups(self, name: Text) -> object:
        """XINFO GROUPS: a list of dicts."""

    def xinfo_stream(self, name: Text) -> object:
        """XINFO STREAM: a dict."""

    def xlen(self, name: Text) -> object:
        """XLEN."""


class Script(Protocol):
    """A Lua script that the server keeps."""

    def __call__(self, keys: Sequence[Text] = (), args: Sequence[Value] = (), client: Any = None) -> Any:
        """Run it."""


class Subscription(Protocol):
    """A subscription to channels."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def subscribe(self, *channels: str) -> object:
        """SUBSCRIBE."""

    def psubscribe(self, *patterns: str) -> object:
        """PSUBSCRIBE."""

    def get_message(self, *, timeout: float | None = 0.0) -> dict[str, Any] | None:
        """Return the next message; None after `timeout` seconds without one."""


class Client(Protocol):
    """One server, or a cluster as one. Its methods raise the errors of redis.exceptions."""

    def pipeline(self, *, transaction: Literal[False]) -> Pipeline:
        """Collect commands. transaction: only False, because a cluster has no transaction over several nodes."""

    def pubsub(self, *, ignore_subscribe_messages: bool = False) -> Subscription:
        """Subscribe to channels."""

    def register_script(self, script: str) -> Script:
        """Make a script that is loaded when it is first run."""

    def close(self) -> None:
        """Close the connections."""

    def execute_command(self, *args: Value, **options: Any) -> Any:
        """Send any command, in the words of Redis."""

    def acl_whoami(self) -> str:
        """ACL WHOAMI."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Value) -> Any:
        """EVAL."""

    def exists(self, *names: Text) -> int:
        """EXISTS."""

    def get(self, name: Text) -> bytes | None:
        """GET."""

    def hdel(self, name: Text, *keys: Text) -> int:
        """HDEL."""

    def hgetall(self, name: Text) -> dict[bytes, bytes]:
        """HGETALL."""

    def hset(self, name: Text, *, mapping: Fields) -> int:
        """HSET."""

    def info(self, section: str | None = None) -> dict[str, Any]:
        """INFO."""

    def ping(self) -> bool:
        """PING."""

    def pttl(self, name: Text) -> int:
        """PTTL: milliseconds until it expires; negative: it does not expire, or does not exist."""

    def script_load(self, script: str) -> str:
        """SCRIPT LOAD."""

    def set(self, name: Text, value: Value, ex: int | None = None) -> bool | None:
        """SET; ex: seconds until it expires."""

    def time(self) -> tuple[int, int]:
        """TIME: seconds, microseconds."""

    def unlink(self, *names: Text) -> int:
        """UNLINK."""

    def xack(self, name: Text, groupname: Text, *ids: Text) -> int:
        """XACK."""

    def xadd(self, name: Text, fields: Fields) -> bytes:
        """XADD."""

    def xclaim(
        self, name: Text, groupname: Text, consumername: Text, min_idle_time: int, message_ids: list[bytes], *,
        justid: bool,
    ) -> list[bytes]:  # fmt: skip
        """XCLAIM."""

    def xdel(self, name: Text, *ids: Text) -> int:
        """XDEL."""

    def xgroup_create(self, name: Text, groupname: Text, id: str, *, mkstream: bool) -> bool:  # noqa: A002  # redis-py's
        """XGROUP CREATE."""

    def xinfo_groups(self, name: Text) -> list[dict[str, Any]]:
        """XINFO GROUPS."""

    def xlen(self, name: Text) -> int:
        """XLEN."""

    def xtrim(self, name: Text, maxlen: int, *, approximate: bool) -> int:
        """XTRIM MAXLEN."""


class Node(Client, Protocol):
    """One server: alone, or a node of a cluster. Here a pipeline can be one transaction."""

    connection_pool: Any

    def get_encoder(self) -> Any:
        """Return the encoder that converts text to bytes."""

    def pipeline(self, *, transaction: bool) -> Pipeline:
        """Collect commands. True: they go between one MULTI and one EXEC."""

    def pubsub_numsub(self, *channels: str) -> list[tuple[bytes, int]]:
        """PUBSUB NUMSUB: the subscribers of each channel on this server."""
