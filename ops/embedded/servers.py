"""Embedded mode for a process that uses the servers: start them, find them again, leave them.

All processes that name a data folder share its Valkey and PostgreSQL, which run while one of these runs. Each process
holds a shared lock on the folder. A watchdog (`watchdog.py`) starts both servers, restarts one that dies, and stops
both when the last process has ended, even by SIGKILL: the kernel releases a dead process's lock. If the watchdog itself
is killed, the next process starts another one, which adopts the running servers; and the last process that ends
normally stops them itself.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...contracts.errors import SetupError, UsageError
from ...contracts.settings import Servers
from ..process.server_probe import away_servers
from .folder import DECISION, USERS, WATCHDOG, State, is_held, locked, read_state
from .server_processes import READY_WITHIN_S, both_answer, stop_orphans
from .watchdog import READY

_LOOK_EVERY_S = 0.02
_ANSWER_WITHIN_S = 0.3


def default_data_dir() -> Path:
    """Return $XDG_STATE_HOME/tickstock, ~/.local/state/tickstock, or /var/lib/tickstock for root.

    PostgreSQL's account cannot enter root's home; /var/lib is the usual place for a system service's state.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/tickstock")
    # The XDG base directory specification: a relative path is to be ignored.
    state_home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state_home) if state_home.startswith("/") else Path.home() / ".local" / "state") / "tickstock"


@contextmanager
def embedded_servers(data_dir: Path, *, log: Callable[[str], None]) -> Iterator[Servers]:
    """Start or adopt the two servers of a data folder; stop them at the end if no other process uses them.

    A server that dies meanwhile is restarted at the same address, with its data. The last process returns after both
    servers have ended. Raises UsageError for an unusable folder, SetupError if a server does not start. log: called
    with messages before and after a start.
    """
    folder = data_dir.expanduser().absolute()
    with ExitStack() as use:
        started, state = _join(folder, use, log)
        if started:  # else every command would print the addresses, as `tickstock urls` does
            log(
                f"started the embedded servers of {folder}: "
                f"Valkey on 127.0.0.1:{state.valkey.port}, PostgreSQL on 127.0.0.1:{state.postgres.port}"
            )
        yield state.servers()


@contextmanager
def servers_to_look_at(data_dir: Path, *, log: Callable[[str], None]) -> Iterator[Servers]:
    """Return the two servers of a data folder for a read-only look, even if they run and do not answer.

    Without running servers they are started, as in `embedded_servers`. Otherwise this does not wait for another
    process's decision to start or stop them, which may take long.
    """
    folder = data_dir.expanduser().absolute()
    with ExitStack() as use:
        state = _running(folder, use)
        if state is not None:
            yield state.servers()
            return
        yield use.enter_context(embedded_servers(data_dir, log=log))


def _running(folder: Path, use: ExitStack) -> State | None:
    """Take the users' lock while a watchdog runs, so that it continues; None if it is about to end, or none runs."""
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    with ExitStack() as looking:
        try:
            looking.enter_context(locked(folder / USERS, fcntl.LOCK_SH))
            while is_held(folder / WATCHDOG):
                state = read_state(folder)
                # A watchdog that has just lost its last user is stopping them.
                answers = state is not None and not away_servers(state.servers(), within_s=_ANSWER_WITHIN_S)
                if state is not None and (answers or time.monotonic() > deadline):
                    use.push(looking.pop_all())
                    return state
                time.sleep(_LOOK_EVERY_S)
        except OSError:  # there is no such folder yet, or it is unusable: the start will report it
            return None
    return None


def _join(folder: Path, use: ExitStack, log: Callable[[str], None]) -> tuple[bool, State]:
    """Take the users' lock and make sure that a watchdog runs and both servers answer.

    Return whether we started one, and the state.
    """
    with ExitStack() as deciding:
        try:
            _make(folder)
            deciding.enter_context(locked(folder / DECISION, fcntl.LOCK_EX))
            use.callback(_leave, folder)  # before taking the lock, so that it runs after its release
            use.enter_context(locked(folder / USERS, fcntl.LOCK_SH))
        except OSError as e:
            raise UsageError(f"the data folder {folder} cannot be used: {e.strerror}") from e
        return _ensure_servers(folder, log)


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"the data folder {folder} is not a folder")
    # As root, PostgreSQL's account must pass through it; secret files have mode 0600.
    folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid() == 0:
        # The owner could not read files that root writes.
        raise UsageError(f"the data folder {folder} belongs to another user: run as that user, not as root")


def _ensure_servers(folder: Path, log: Callable[[str], None]) -> tuple[bool, State]:
    started = False
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        with locked(folder / WATCHDOG, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
            if lock is not None:
                log("starting PostgreSQL and Valkey")  # the first start takes seconds
                _start_watchdog(folder, lock)
                started = True
        state = read_state(folder)
        if state is not None and both_answer(state.servers()):
            return started, state
        if time.monotonic() > deadline:
            raise SetupError(f"the embedded servers do not answer: see {folder}/valkey.log and {folder}/postgres.log")
        time.sleep(_LOOK_EVERY_S)


def _start_watchdog(folder: Path, lock: int) -> None:
    """Start the watchdog and wait for its answer: it closes its standard output when the servers are up.

    It inherits the lock, and so holds it from its start, even if we are killed now.
    """
    log = os.open(folder / "watchdog.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        watchdog = subprocess.run(
            # -P: import nothing from the data folder
            [sys.executable, "-P", "-m", "tickstockpl.ops.embedded.watchdog", str(folder), str(lock)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C in the terminal must not reach it
            text=True,
        )
    finally:
        os.close(log)
    if watchdog.stdout != READY:
        raise SetupError(watchdog.stdout or f"the embedded servers' watchdog died: see {folder}/watchdog.log")


def _leave(folder: Path) -> None:
    """If no process is left, wait until the watchdog has stopped the servers; without a watchdog, stop them here.

    The watchdog holds the decision lock while it stops them.
    """
    with suppress(FileNotFoundError):  # the folder was removed: the watchdog notices it as well
        while True:
            with locked(folder / DECISION, fcntl.LOCK_EX):
                if is_held(folder / USERS):
                    return
                if not is_held(folder / WATCHDOG):
                    stop_orphans(folder)
                    return
            time.sleep(_LOOK_EVERY_S)
