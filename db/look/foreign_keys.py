"""Keys of ours that hold something else, because somebody used their names: found by TYPE, left out until put right.

One such key makes a command on many keys fail as a whole; so who reads or writes many partitions asks here which of
them to leave out, and goes on with the others.
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
    """Return those keys that hold another type. wanted: each key with its type. Raises what Redis raises.

    A key that our user may not look at is passed over: whoever needs it hears that from Redis.
    """
    pipeline = client.pipeline(transaction=False)
    for key in wanted:
        pipeline.execute_command("TYPE", key)
    held = (_type_in(reply) for reply in pipeline.execute(raise_on_error=False))
    pairs = ((key, wants, holds) for (key, wants), holds in zip(wanted.items(), held, strict=True))
    return [ForeignKey(key, _said(holds), _said(wants)) for key, wants, holds in pairs if holds not in ("none", wants)]


def _type_in(reply: bytes | Exception) -> str:
    if isinstance(reply, NoPermissionError):
        return "none"
    if isinstance(reply, Exception):
        raise reply
    return reply.decode()


def all_keys(partitions: int) -> dict[str, KeyType]:
    """Name every key of a fleet with so many partitions, and what each holds."""
    wanted = SHARED_KEYS | results_keys(RUNS)
    for partition in range(partitions):
        wanted |= partition_keys(partition)
    return wanted


def _said(kind: str) -> str:
    return _ARTICLES.get(kind, f"a {kind}")


class ForeignKeyWatch:
    """Remembers which of some units to leave out, says each key once, and sees when it is put right.

    A unit is a partition, mostly, with the keys that `keys_of` gives it. One thread uses it.
    """

    def __init__(self, client: Client, keys_of: KeysOf, *, world: World) -> None:
        self._client = client
        self._keys_of = keys_of
        self._found: dict[int, list[ForeignKey]] = {}
        self._backoff = Backoff(world, first_s=0.25, longest_s=5.0)

    @property
    def left_out(self) -> set[int]:
        """The units to leave out."""
        return set(self._found)

    def look(self, units: Iterable[int]) -> set[int]:
        """Look at units that are not left out yet; return, and say, those that are from now on."""
        found = self._foreign(unit for unit in units if unit not in self._found)
        for key in (key for keys in found.values() for key in keys):
            log.error("a key of ours holds something else", why=key.says, do=key.do)
        if found:
            self._found |= found
            self._backoff.reset()
            self._backoff.postpone()
        return set(found)

    def put_right(self) -> set[int]:
        """Look again at what is left out, later each time; return, and say, the units whose keys are right again."""
        if not self._found or not self._backoff.is_due:
            return set()
        still = self._foreign(self._found)
        right = self._found.keys() - still.keys()
        for key in (key for unit in right for key in self._found[unit]):
            log.info("the key is right again", key=key.key)
        self._found = still
        self._backoff.postpone()
        return right

    def forget(self, unit: int) -> None:
        """Leave a unit to somebody else."""
        self._found.pop(unit, None)

    def _foreign(self, units: Iterable[int]) -> dict[int, list[ForeignKey]]:
        keys = {key: (unit, kind) for unit in units for key, kind in self._keys_of(unit).items()}
        found: dict[int, list[ForeignKey]] = {}
        for foreign in foreign_keys(self._client, {key: kind for key, (_, kind) in keys.items()}):
            found.setdefault(keys[foreign.key][0], []).append(foreign)
        return found
