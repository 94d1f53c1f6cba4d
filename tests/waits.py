"""How often tests look for what they wait for."""

import time
from collections.abc import Iterator
from threading import Event

FIRST_S, LONGEST_S = 0.02, 0.2


def looks(within_s: float) -> Iterator[float]:
    """Yield the seconds waited so far, each time that a condition is to be looked at; the last time, after all of them.

    Many looks connect to PostgreSQL, which takes 15 ms of processor time: at 50 looks a second, a test that only waits
    would take half a processor from the processes that it waits for. So the pause grows with the wait.
    """
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < within_s:
        yield waited_s
        Event().wait(min(max(FIRST_S, waited_s / 20), LONGEST_S))
    yield waited_s
