"""The watchdog of an embedded data folder: the only process that starts and stops its two servers.

`python -m tickstockpl.ops.embedded.watchdog DATA_DIR LOCK_DESCRIPTOR`, started by `servers.py` under the decision
lock. It leaves the terminal, starts both servers (or adopts those of a killed watchdog), says "ready" on its standard
output, and then

- starts a server that died again, on the same port, so that clients only have to reconnect;
- stops both servers and ends when no process holds the users' lock, however the last one ended;
- does the same on SIGTERM, and if its data folder is removed or replaced.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from ...contracts.errors import SetupError
from .folder import DECISION, USERS, WATCHDOG, ServerRecord, State, is_held, locked, read_state, write_state
from .server_processes import EmbeddedServer, both_servers, stop

READY = "ready"
_LOOK_EVERY_S = 0.2
_LONGEST_PAUSE_S = 30.0  # between two starts of a server that does not stay up
_STAYED_UP_S = 10.0


class Watchdog:
    """Keeps the two servers of a data folder running while a process uses them."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder = folder
        self._lock = lock
        self._state = read_state(folder) or State(ServerRecord(), ServerRecord())
        self._servers = both_servers(folder, self._state)
        self._pauses = {server.name: _Pause() for server in self._servers}
        self._asked_to_stop = False
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def bring_up(self) -> None:
        """Adopt the running servers, start the others, return when both answer.

        Raises SetupError, OSError or SubprocessError; then no server runs.
        """
        if self._state.postgres.port == 0 and (self._folder / "postgres").exists():
            raise SetupError(
                f"{self._folder} has lost its servers.json with the passwords: restore it, or choose another"
            )
        try:
            self._bring_up()
        except BaseException:
            self.stop()
            raise

    def _bring_up(self) -> None:
        missing = [server for server in self._servers if not server.is_alive()]
        for server in missing:
            server.take_port()
        write_state(self._folder, self._state)  # first of all: the cluster is created with the password in it
        for server in missing:
            self._start(server)
        for server in self._servers:
            server.wait_until_ready()

    def keep(self) -> None:
        """Watch until the servers are not needed; then stop them."""
        try:
            while not self._asked_to_stop and self._owns_folder():
                if self._stop_if_unused():
                    return
                self._restart_dead()
                time.sleep(_LOOK_EVERY_S)
        except OSError as e:  # the folder was removed in between
            _note(f"giving up: {e}")
        self.stop()

    def stop(self) -> None:
        """Stop both servers and record it."""
        stop(self._servers)
        if self._owns_folder():  # in a replaced folder, the file belongs to another watchdog
            write_state(self._folder, self._state)

    def _stop_if_unused(self) -> bool:
        with locked(self._folder / DECISION, fcntl.LOCK_EX | fcntl.LOCK_NB) as deciding:
            if deciding is None or is_held(self._folder / USERS):
                return False
            self.stop()
            # Before the decision lock: its next holder must not believe that we still watch.
            os.close(self._lock)
            return True

    def _owns_folder(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._lock), (self._folder / WATCHDOG).stat())
        except OSError:
            return False

    def _restart_dead(self) -> None:
        for server in self._servers:
            if server.is_alive() or not self._pauses[server.name].may_start():
                continue
            _note(f"{server.name} is gone: starting it again")
            try:
                self._start(server)
            except (SetupError, OSError) as e:
                _note(f"{server.name} does not start: {e}")

    def _start(self, server: EmbeddedServer) -> None:
        server.start()
        write_state(self._folder, self._state)  # immediately: if we are killed, the next watchdog must find it

    def _on_sigterm(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked_to_stop = True


class _Pause:
    """Growing pauses between starts of a server that does not stay up; no pause if it stayed up."""

    def __init__(self) -> None:
        self._length_s = 0.0
        self._started_at = 0.0

    def may_start(self) -> bool:
        """Tell whether the server may be started now; if so, the next pause begins."""
        up_s = time.monotonic() - self._started_at
        if up_s < self._length_s:
            return False
        # PostgreSQL needs a second start: the children of a killed one hold its shared memory for a moment.
        self._length_s = 0.5 if up_s > _STAYED_UP_S + self._length_s else min(2 * self._length_s, _LONGEST_PAUSE_S)
        self._started_at = time.monotonic()
        return True


def main() -> None:
    """Run the watchdog of the data folder named on the command line."""
    if os.fork():
        os._exit(0)  # no process waits for the watchdog, which outlives its starter
    folder, lock = Path(sys.argv[1]), int(sys.argv[2])
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    try:
        watchdog = Watchdog(folder, lock)
        watchdog.bring_up()
    except (SetupError, OSError, subprocess.SubprocessError) as e:
        _say(str(e))
    else:
        _say(READY)
        watchdog.keep()


def _say(text: str) -> None:
    """Answer the process that started us, and close the output: it reads to the end. It may have been killed."""
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), text.encode())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _note(text: str) -> None:
    """Add a line to watchdog.log."""
    print(datetime.now(UTC).isoformat(timespec="seconds"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
