"""Start and stop a producer and workers as child processes, for commands that run a whole job."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from ...contracts.errors import SetupError
from ..process.shutdown import Stop
from ..wiring.servers import Place

STOP_WAIT_S = 10.0  # a worker's own deadline is half of it


def start(
    where: Place, *arguments: str, log_level: str = "warning", lines: IO[str] | None = None
) -> subprocess.Popen[bytes]:
    """Start one of our commands on the same servers, in its own session: Ctrl-C reaches it only through us.

    It stops when its standard input ends, even when we are killed. lines: receives its log; None: our own stderr.
    """
    command = [sys.executable, "-m", "tickstockpl.ops", *arguments, *where.options(), "--log-level", log_level]
    command.append("--stop-with-stdin")
    logs = None if lines is None else subprocess.PIPE
    process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.PIPE, stderr=logs, env=_environment())
    if lines is not None and process.stderr is not None:
        threading.Thread(target=_pass_on, args=(process.stderr, lines), daemon=True).start()
    return process


def _pass_on(logged: IO[bytes], lines: IO[str]) -> None:
    for line in logged:
        lines.write(line.decode(errors="replace"))


@contextmanager
def stopped_at_the_end(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Stop processes with SIGTERM at the end of the block, however it ends; SIGKILL those that do not stop."""
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment() -> dict[str, str]:
    """Return our environment without the variables of our own options: a child gets arguments.

    The variables of the servers stay, and TICKSTOCK_CONNECT_TIMEOUT_S, also in its former spelling.
    """
    kept = ("TICKSTOCK_DB_", "TICKSTOCK_CONNECT_TIMEOUT")
    return {k: v for k, v in os.environ.items() if not k.startswith("TICKSTOCK_") or k.startswith(kept)}


class WatchedStop(Stop):
    """A stop event that notices, whatever the main thread waits for, when all workers have ended."""

    def __init__(self, *, deadline_s: float) -> None:
        super().__init__(deadline_s=deadline_s)
        self.workers: list[subprocess.Popen[bytes]] = []

    def wait(self, seconds: float) -> bool:
        """Sleep; raise SetupError if every worker has ended."""
        if self.workers:
            expect_one_alive(self.workers)
        return super().wait(seconds)


def expect_one_alive(processes: Sequence[subprocess.Popen[bytes]], what: str = "every worker") -> None:
    """Raise SetupError if every process has ended."""
    codes = [process.poll() for process in processes]
    if None not in codes:
        raise SetupError(f"{what} has ended (exit codes {codes}); see its log lines above")
