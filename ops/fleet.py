"""Starts and stops a producer and workers as processes of their own, for the commands that run a whole job."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

STOP_WAIT_S = 10.0  # a worker's own deadline is half of it


def start(*arguments: str, quiet: bool = True) -> subprocess.Popen[bytes]:
    """Start one of our commands in its own session, so that Ctrl-C reaches it only through us."""
    command = [sys.executable, "-m", "tickstockpl.ops", *arguments]
    if quiet:
        command += ["--log-level", "warning"]
    return subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, env=os.environ)


@contextmanager
def stopped_at_the_end(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Stop processes with SIGTERM when the block ends, whatever ends it; SIGKILL who does not listen."""
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
