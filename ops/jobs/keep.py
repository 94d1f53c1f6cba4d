"""Keep one command running: restart it after growing pauses when it dies; pass on a stop, and wait for its end."""

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
_HEALTHY_AFTER_S = 60.0  # a process that ran for this time did not fail at its start
_NOT_STARTED = 127  # a shell's exit code for a command that cannot be started
_USAGE = 2  # a wrong option stays wrong
_LOOK_EVERY_S = 1.0  # between checks whether our parent still runs
# The signal to pass on for each signal that stops us. The command does not have our terminal, which could hang up.
_STOPS = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGINT,
    signal.SIGHUP: signal.SIGTERM,
}


class Pauses:
    """The pauses before a restart: doubled after each short run, short again after a long one."""

    def __init__(self) -> None:
        self._backoff = Backoff(REAL, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)

    def after(self, life_s: float) -> float:
        """Return the pause after a run of some seconds."""
        if life_s >= _HEALTHY_AFTER_S:
            self._backoff.reset()
        return self._backoff.pause_s()


class Keeper:
    """Runs a command until a stop, until it has no work left (exit 0), or if it is used wrongly (exit 2).

    The command runs in its own session, so that signals reach it only through us; its standard input ends when we end.
    The end of our parent is a stop: a closed terminal does not notify other sessions, and half a fleet would continue.
    """

    def __init__(self, command: Sequence[str], *, stop_after_s: float, always: bool) -> None:
        """stop_after_s: delay of the first stop; the next is passed on immediately.

        always: restart also after exit 0.
        """
        self._parent = os.getppid()
        self._command = command
        self._stop_after_s = stop_after_s
        self._always = always
        self._stop_at_s: float | None = None  # by the monotonic clock
        self._to_pass_on: list[signal.Signals] = []
        self._signals = _arriving_signals()

    def run(self) -> int:
        """Keep the command running; return its last exit code. Raises UsageError if it cannot be started at all."""
        pauses = Pauses()
        lives = 0
        while True:
            started_s = time.monotonic()
            try:
                code = self._live()
            except OSError as e:
                if not lives:
                    raise UsageError(f"{self._command[0]}: {e.strerror}") from e
                _say(log.warning, "cannot be started", why=e.strerror)  # it may be under installation
                code = _NOT_STARTED
            lives += 1
            if self._stop_at_s is not None:
                _say(log.info, "stopped", code=code)
                return code if code >= 0 else 128 - code
            if code == _USAGE:
                _say(log.error, "not restarted: wrong usage", code=code)
                return code
            if code == 0 and not self._always:
                # Our parent may stop all other processes as soon as we end.
                _say(log.warning, "ended, not restarted: waiting for a stop", code=code)
                self._rest(None)
                return code
            pause_s = pauses.after(time.monotonic() - started_s)
            what = "died" if code else "ended"
            _say(log.warning, f"{what}, restarting", code=code, pause_s=round(pause_s, 1))
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
        """Wait this number of seconds, or forever; return early at a stop. Return whether there was one."""
        until_s = None if seconds is None else time.monotonic() + seconds
        while self._stop_at_s is None:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return False
            self._listen(left_s)
        return True

    def _listen(self, seconds: float | None) -> None:
        """Wait for a signal (the end of the child included), at most a second; record a stop."""
        wait_s = _LOOK_EVERY_S if seconds is None else min(seconds, _LOOK_EVERY_S)
        is_said = bool(select.select([self._signals], [], [], wait_s)[0])
        if self._stop_at_s is None and os.getppid() != self._parent:
            self._stop_at_s = time.monotonic() + self._stop_after_s
            self._to_pass_on.append(signal.SIGTERM)
            _say(log.warning, "parent process ended: stopping", parent=self._parent)
        if not is_said:
            return
        for number in self._signals.recv(64):
            if number in _STOPS:
                hurry = self._stop_at_s is not None
                self._stop_at_s = time.monotonic() + (0 if hurry else self._stop_after_s)
                self._to_pass_on.append(_STOPS[signal.Signals(number)])


def _say(write: Callable[..., None], event: str, **fields: object) -> None:
    """Log, if the log is still readable: a stop must work after the terminal is gone."""
    with suppress(OSError):
        write(event, **fields)


def _arriving_signals() -> socket.socket:
    """Return a socket on which each signal arrives as one byte: signals are read in turn and interrupt nothing."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach())
    for number in (*_STOPS, signal.SIGCHLD):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as with nohup
            signal.signal(number, lambda *_: None)
    return reader
