"""One stop event per process, set by SIGTERM or SIGINT, with one deadline for the whole stop."""

import os
import signal
import sys
import threading
from types import FrameType

import structlog

log = structlog.get_logger()

STOP_DEADLINE_S = 5.0  # for the whole stop; the next owner restores uncommitted work


class Stop:
    """The process's stop event. Create it in the main thread: it handles the signals."""

    def __init__(self, *, deadline_s: float = STOP_DEADLINE_S, with_stdin: bool = False) -> None:
        """with_stdin: stop when the standard input ends, as it does when the parent process is killed."""
        self._event = threading.Event()
        self._deadline_s = deadline_s
        if with_stdin:
            threading.Thread(target=self._await_end_of_stdin, daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _await_end_of_stdin(self) -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # signal's own signature
        if not self._event.is_set():
            timer = threading.Timer(self._deadline_s, self._give_up)
            timer.daemon = True
            timer.start()
        self._event.set()

    def _give_up(self) -> None:
        """End the process at its deadline; committed work is not lost."""
        log.error(
            "stopped at the deadline: the work was not finished",
            seconds=self._deadline_s,
            do="nothing: the next start, or another worker, continues from the last commit",
        )
        sys.stderr.flush()
        os._exit(1)

    def is_set(self) -> bool:
        """Tell whether to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Stop from inside the process, without a deadline."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, at most until the stop; return whether to stop."""
        return self._event.wait(seconds)
