"""Pauses between attempts to reach a server: each twice as long, up to a limit, minus a random part.

Without the random part, all processes of a fleet would come back in the same moment and overload the server again.
"""

from .world import World

FIRST_S = 0.05
LONGEST_S = 2.0
JITTER = 0.5


class Backoff:
    """The pauses of one loop. Times in seconds; jitter: the largest random part of a pause, 0..1.

    A loop without other work waits for `pause_s`; a loop that continues calls `postpone` and checks `is_due`.
    """

    def __init__(
        self, world: World, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S, jitter: float = JITTER
    ) -> None:
        self._world = world
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self.reset()

    def reset(self) -> None:
        """Start with the first pause again, and be due: the server answered."""
        self._next_s = self._first_s
        self._due_at = 0.0

    def pause_s(self) -> float:
        """Return the next pause, and make the one after it twice as long."""
        pause_s, self._next_s = self._next_s, min(self._longest_s, 2 * self._next_s)
        return pause_s * self._world.uniform(1.0 - self._jitter, 1.0)

    def postpone(self) -> None:
        """Postpone the next try by a pause."""
        self._due_at = self._world.monotonic_s() + self.pause_s()

    @property
    def is_due(self) -> bool:
        """Tell whether the pause is over."""
        return self._due_at == 0.0 or self._world.monotonic_s() >= self._due_at
