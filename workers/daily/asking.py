"""Asks a vendor while the step that needs the answer is kept, its waits are noted, and a cancel is heard."""

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
    """Runs a question to its end. Raises RestStopped where nobody wants the answer any more, and what it raises."""

    def __call__(self, question: Callable[[], T], /) -> T:
        """Return what the question returns."""


class Asking:
    """One question at a time, in a thread of its own: an answer may take half a minute, and a quota longer."""

    def __init__(self, stop: Stop, world: World) -> None:
        self._stop = stop
        self._world = world
        self._is_unwanted = threading.Event()
        self._refusals: deque[float] = deque()

    def wait(self, seconds: float) -> bool:
        """Sleep in the question; return True where it is to stop."""
        until_s = self._world.monotonic_s() + seconds
        while not (self._stop.is_set() or self._is_unwanted.is_set()):
            left_s = until_s - self._world.monotonic_s()
            if left_s <= 0:
                return False
            self._world.wait(self._is_unwanted, min(left_s, _LOOK_S))
        return True

    def refused_for(self, seconds: float) -> None:
        """Hear, in the question, that the vendor wants no other for so long."""
        self._refusals.append(seconds)

    def ask(self, question: Callable[[], T], keep: Callable[[Sequence[float]], bool]) -> T:
        """Run a question.

        keep: called each second with the waits that the vendor asked for since; False: the answer is not wanted.
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
            thread.join()  # the next question finds the client free
            raise
        return answered.result()

    def _taken(self) -> list[float]:
        return [self._refusals.popleft() for _ in range(len(self._refusals))]


def _run(question: Callable[[], T], answered: "Future[T]") -> None:
    try:
        answered.set_result(question())
    except BaseException as e:  # noqa: BLE001  # raised again by who asked
        answered.set_exception(e)
