"""A world whose clock moves only when somebody waits, or when a test moves it."""

from itertools import count
from uuid import UUID

from tickstockpl.db.world import World

START_S = 1_000.0


class FakeWorld:
    """What a test hands in. now_s: the monotonic clock; the time of day runs with it from 2026-01-15 15:00 UTC on.

    waits: the seconds of each wait. chance: what `uniform` answers, as a share of the way from its low end to its high.
    on_wait: what happens at each wait.
    """

    def __init__(self):
        self.now_s = START_S
        self.waits = []
        self.chance = 1.0
        self.on_wait = lambda: None
        self._numbers = count(1)
        self.world = World(
            monotonic_ns=lambda: round(self.now_s * 1e9),
            unix_ns=lambda: 1_768_489_200_000_000_000 + round((self.now_s - START_S) * 1e9),
            cpu_s=lambda: 0.0,
            sleep=self._pass,
            wait=self._wait,
            uniform=lambda low, high: low + (high - low) * self.chance,
            random_bits=lambda bits: next(self._numbers) % (1 << bits),
            uuid=lambda: UUID(int=next(self._numbers)),
        )

    def _pass(self, seconds):
        self.waits.append(seconds)
        self.on_wait()
        self.now_s += seconds

    def _wait(self, event, seconds):
        self._pass(seconds)
        return event.wait(0)


class HeldClock(FakeWorld):
    """A world in which a wait takes no time: only a test moves its clock."""

    def _pass(self, seconds):
        self.waits.append(seconds)
        self.on_wait()
