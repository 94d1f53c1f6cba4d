"""Keeps one command running: starts it again when it dies, later and later; passes a stop on, and waits for its end."""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from ...contracts.errors import UsageError
from ...db.backoff import Backoff
from ...db.world import REAL

log = structlog.get_logger()

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_HEALTHY_AFTER_S = 60.0  # what lived so long did not die of its start
_NOT_STARTED = 127  # as a shell says it of a command that it cannot start
_USAGE = 2  # a wrong option is as wrong the next time
_LOOK_EVERY_S = 1.0  # whether who started us still lives
# What is passed on for each signal that stops us. The command knows nothing of our terminal, which hangs up.
_STOPS = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGINT,
    signal.SIGHUP: signal.SIGTERM,
}


class Pauses:
    """How long to wait before the next start: twice as long after each short life, short again after a healthy one."""

    def __init__(self) -> None:
        self._backoff = Backoff(REAL, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)

    def after(self, life_s: float) -> float:
        """Return the pause that follows a life of so many seconds."""
        if life_s >= _HEALTHY_AFTER_S:
            self._backoff.reset()
        return self._backoff.pause_s()


class Keeper:
    """Runs a command until it is told to stop, finds no work left (exit 0) or is used wrongly (exit 2).

    The command runs in a session of its own, so that a signal reaches it only through us; its standard input ends when
    we do, however that is. The end of who started us is a stop: a terminal that is closed tells nobody in another
    session, and half a fleet would run on.
    """

    def __init__(self, command: Sequence[str], *, stop_after_s: float, always: bool) -> None:
        """stop_after_s: the first stop is passed on so much later; the next at once. always: after exit 0 too."""
        self._parent = os.getppid()
        self._command = command
        self._stop_after_s = stop_after_s
        self._always = always
        self._stop_at_s: float | None = None  # by the monotonic clock
        self._to_pass_on: list[signal.Signals] = []
        self._signals = _arriving_signals()

    def run(self) -> int:
        """Keep the command running; return its last exit code. Raises UsageError where it cannot even be started."""
        pauses = Pauses()
        lives = 0
        while True:
            started_s = time.monotonic()
            try:
                code = self._live()
            except OSError as e:
                if not lives:
                    raise UsageError(f"{self._command[0]}: {e.strerror}") from e
                _say(log.warning, "cannot be started", why=e.strerror)  # it may just be installed anew
                code = _NOT_STARTED
            lives += 1
            if self._stop_at_s is not None:
                _say(log.info, "stopped", code=code)
                return code if code >= 0 else 128 - code
            if code == _USAGE:
                _say(log.error, "not started again: it was used wrongly", code=code)
                return code
            if code == 0 and not self._always:
                # Who started us may stop all others as soon as we end.
                _say(log.warning, "ended by itself, not started again: waiting to be stopped", code=code)
                self._rest(None)
                return code
            pause_s = pauses.after(time.monotonic() - started_s)
            what = "died" if code else "ended"
            _say(log.warning, f"{what}, is started again", code=code, pause_s=round(pause_s, 1))
            if self._rest(pause_s):
                _say(log.info, "stopped")
                return 0

    def _live(self) -> int:
        """Start the command and return its exit code; below 0: the signal that ended it."""
        child = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)
        with child:
            _say(log.info, "started", pid=child.pid)
            while (code := child.poll()) is None:
                left_s = None
                if self._stop_at_s is not None and self._to_pass_on:
                    left_s = self._stop_at_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    child.send_signal(self._to_pass_on.pop())
                    self._to_pass_on.clear()
                    _say(log.info, "stopping", pid=child.pid)
                else:
                    self._listen(left_s)
        return code

    def _rest(self, seconds: float | None) -> bool:
        """Wait so long, or for ever; return as soon as a stop is asked for, and whether it was."""
        until_s = None if seconds is None else time.monotonic() + seconds
        while self._stop_at_s is None:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return False
            self._listen(left_s)
        return True

    def _listen(self, seconds: float | None) -> None:
        """Wait for a signal, the end of the child among them, no longer than a second; note a stop."""
        wait_s = _LOOK_EVERY_S if seconds is None else min(seconds, _LOOK_EVERY_S)
        is_said = bool(select.select([self._signals], [], [], wait_s)[0])
        if self._stop_at_s is None and os.getppid() != self._parent:
            self._stop_at_s = time.monotonic() + self._stop_after_s
            self._to_pass_on.append(signal.SIGTERM)
            _say(log.warning, "who started this has ended: stopping", parent=self._parent)
        if not is_said:
            return
        for number in self._signals.recv(64):
            if number in _STOPS:
                hurry = self._stop_at_s is not None
                self._stop_at_s = time.monotonic() + (0 if hurry else self._stop_after_s)
                self._to_pass_on.append(_STOPS[signal.Signals(number)])


def _say(write: Callable[..., None], event: str, **fields: object) -> None:
    """Log, where anybody still reads it: a stop must get through after the terminal is gone."""
    with suppress(OSError):
        write(event, **fields)


def _arriving_signals() -> socket.socket:
    """Return a socket on which each signal arrives as one byte: read in turn, they interrupt nothing."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach())
    for number in (*_STOPS, signal.SIGCHLD):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda *_: None)
    return reader
