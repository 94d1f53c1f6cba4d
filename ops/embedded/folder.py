"""The files of an embedded data folder: its three locks, and `servers.json` with ports, passwords and process ids.

lock           shared, by every process that uses the servers
startup.lock   exclusive, around each decision to start or stop them; who decides may look at the other locks
watchdog.lock  exclusive, by the watchdog as long as it lives; holds its process id
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ...contracts.errors import SetupError
from ...contracts.settings import Servers

USERS = "lock"
DECISION = "startup.lock"
WATCHDOG = "watchdog.lock"
_STATE = "servers.json"


@contextmanager
def locked(path: Path, operation: int) -> Iterator[int | None]:
    """Hold a flock for the block and yield its descriptor; yield None if LOCK_NB found it taken.

    Child processes do not inherit the descriptor: a server that outlives us must not hold our lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor if _lock(descriptor, operation) else None
    finally:
        # Close it, not unlock it: a forked child shares the lock, and keeps it while it runs.
        os.close(descriptor)


def _lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Tell whether another process holds a lock. Only while holding DECISION: it takes the lock for a moment."""
    with locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as taken:
        return taken is None


class ServerRecord(msgspec.Struct):
    """How one server was started, and its process (pid 0: stopped)."""

    password: str = msgspec.field(default_factory=lambda: secrets.token_hex(16))
    port: int = 0
    pid: int = 0
    birth: str = ""  # distinguishes the process from a later one with the same id


class State(msgspec.Struct):
    """Both servers of a data folder. It holds passwords: never print it; its file has mode 0600."""

    valkey: ServerRecord
    postgres: ServerRecord

    def servers(self) -> Servers:
        """Return both addresses for clients; redis-cli needs the user `default` in the address."""
        return Servers(
            f"redis://default:{self.valkey.password}@127.0.0.1:{self.valkey.port}/0",
            f"postgresql://tickstock:{self.postgres.password}@127.0.0.1:{self.postgres.port}/tickstock",
        )


def read_state(folder: Path) -> State | None:
    """Read `servers.json`; None in a new folder. Raises SetupError if it is damaged."""
    try:
        return msgspec.json.decode((folder / _STATE).read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as e:
        raise SetupError(f"{folder / _STATE} is damaged ({e}): restore it, or choose another data folder") from e


def write_state(folder: Path, state: State) -> None:
    """Replace `servers.json` in one step: a reader, or a crash, sees the old or the new one."""
    fresh = folder / f"{_STATE}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(state))
        file.flush()
        os.fsync(descriptor)  # the cluster's password is stored only here
    fresh.replace(folder / _STATE)
