"""Find our keys that hold another type, because another program used their names (TYPE), and leave them out.

One such key makes a command on many keys fail as a whole. Code that uses many partitions leaves out those that are
found here, and continues with the others.
"""

from collections.abc import Callable, Iterable, Mapping

import structlog
from redis.exceptions import NoPermissionError

from ...contracts.fleet.fleet_look import ForeignKey
from ...contracts.names import RUNS, SHARED_KEYS, KeyType, partition_keys, results_keys
from ..backoff import Backoff
from ..redis import Client
from ..world import World

log = structlog.get_logger()

_ARTICLES = {"string": "a string", "list": "a list", "set": "a set", "zset": "a sorted set", "hash": "a hash"}

KeysOf = Callable[[int], Mapping[str, KeyType]]


def foreign_keys(client: Client, wanted: Mapping[str, KeyType]) -> list[ForeignKey]:
    """Return the keys that hold another type. wanted: each key with its type. Raises Redis's errors.

    A key that our user may not read is skipped: the code that needs it gets Redis's error.
    """
    pipeline = client.pipeline(transaction=False)
    for key in wanted:
        pipeline.execute_command("TYPE", key)
    held = (_type_in(reply) for reply in pipeline.execute(raise_on_error=False))
    pairs = ((key, wants, holds) for (key, wants), holds in zip(wanted.items(), held, strict=True))
    return [
        ForeignKey(key, _with_article(holds), _with_article(wants))
        for key, wants, holds in pairs
        if holds not in ("none", wants)
    ]


def _type_in(reply: bytes | Exception) -> str:
    if isinstance(reply, NoPermissionError):
        return "none"
    if isinstance(reply, Exception):
        raise reply
    return reply.decode()


def all_keys(partitions: int) -> dict[str, KeyType]:
    """Return every key of a fleet with this number of partitions, and its type."""
    wanted = SHARED_KEYS | results_keys(RUNS)
    for partition in range(partitions):
        wanted |= partition_keys(partition)
    return wanted


def _with_article(kind: str) -> str:
    return _ARTICLES.get(kind, f"a {kind}")


class ForeignKeyWatch:
    """Remembers which units to leave out, logs each key once, and notices when it is corrected.

    A unit is mostly a partition, with the keys that `keys_of` returns. For one thread.
    """

    def __init__(self, client: Client, keys_of: KeysOf, *, world: World) -> None:
        self._client = client
        self._keys_of = keys_of
        self._found: dict[int, list[ForeignKey]] = {}
        self._backoff = Backoff(world, first_s=0.25, longest_s=5.0)

    @property
    def left_out(self) -> set[int]:
        """The units that are left out."""
        return set(self._found)

    def check(self, units: Iterable[int]) -> set[int]:
        """Check units that are not left out yet; return and log the bad ones, which are left out from now on."""
        found = self._foreign(unit for unit in units if unit not in self._found)
        for key in (key for keys in found.values() for key in keys):
            log.error("a key holds another type", why=key.says, do=key.do)
        if found:
            self._found |= found
            self._backoff.reset()
            self._backoff.postpone()
        return set(found)

    def put_right(self) -> set[int]:
        """Check the left-out units again, at growing intervals; return and log those whose keys are correct again."""
        if not self._found or not self._backoff.is_due:
            return set()
        still = self._foreign(self._found)
        right = self._found.keys() - still.keys()
        for key in (key for unit in right for key in self._found[unit]):
            log.info("the key is correct again", key=key.key)
        self._found = still
        self._backoff.postpone()
        return right

    def forget(self, unit: int) -> None:
        """Forget a unit that another process takes."""
        self._found.pop(unit, None)

    def _foreign(self, units: Iterable[int]) -> dict[int, list[ForeignKey]]:
        keys = {key: (unit, kind) for unit in units for key, kind in self._keys_of(unit).items()}
        found: dict[int, list[ForeignKey]] = {}
        for foreign in foreign_keys(self._client, {key: kind for key, (_, kind) in keys.items()}):
            found.setdefault(keys[foreign.key][0], []).append(foreign)
        return found
