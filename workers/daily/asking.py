"""Ask a vendor in a thread. Meanwhile the worker keeps its step, records the vendor's waits and looks for a cancel."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from ...contracts.stop import Stop
from ...db.world import World

_LOOK_S = 0.2
_KEEP_EVERY_S = 1.0

T = TypeVar("T")


class Ask(Protocol):
    """Runs a question to its end. Raises RestStopped if the answer is not wanted any more; or the question's error."""

    def __call__(self, question: Callable[[], T], /) -> T:
        """Return what the question returns."""


class Asking:
    """Runs one question at a time in its own thread: an answer may take half a minute, and a used-up quota longer."""

    def __init__(self, stop: Stop, world: World) -> None:
        self._stop = stop
        self._world = world
        self._is_unwanted = threading.Event()
        self._refusals: deque[float] = deque()

    def wait(self, seconds: float) -> bool:
        """Wait in the question's thread; return True if the question must stop."""
        until_s = self._world.monotonic_s() + seconds
        while not (self._stop.is_set() or self._is_unwanted.is_set()):
            left_s = until_s - self._world.monotonic_s()
            if left_s <= 0:
                return False
            self._world.wait(self._is_unwanted, min(left_s, _LOOK_S))
        return True

    def refused_for(self, seconds: float) -> None:
        """Record that the vendor accepts no other request for this time. Called in the question's thread."""
        self._refusals.append(seconds)

    def ask(self, question: Callable[[], T], keep: Callable[[Sequence[float]], bool]) -> T:
        """Run a question.

        keep: called each second with the waits (seconds) that the vendor asked for since the last call. False: the
        answer is not wanted any more.
        """
        self._is_unwanted.clear()
        self._refusals.clear()
        answered: Future[T] = Future()
        thread = threading.Thread(target=_run, args=(question, answered), name="vendor", daemon=True)
        thread.start()
        keep_at_s = 0.0
        try:
            while not answered.done():
                if self._world.monotonic_s() >= keep_at_s:
                    keep_at_s = self._world.monotonic_s() + _KEEP_EVERY_S
                    if not keep(self._taken()):
                        self._is_unwanted.set()
                thread.join(_LOOK_S)
            keep(self._taken())
        except BaseException:
            self._is_unwanted.set()
            thread.join()  # the next question uses the same client
            raise
        return answered.result()

    def _taken(self) -> list[float]:
        return [self._refusals.popleft() for _ in range(len(self._refusals))]


def _run(question: Callable[[], T], answered: "Future[T]") -> None:
    try:
        answered.set_result(question())
    except BaseException as e:  # noqa: BLE001  # `ask` raises it again
        answered.set_exception(e)
