"""Limits the rate of the streaming channels: the application's screen loses messages above it. Pure."""

from collections import Counter, deque
from collections.abc import Iterable

from ...contracts.messages.channel_names import INDICATORS_STREAMING, PATTERNS_STREAMING
from ...contracts.messages.message import Message

_CHANNELS = (PATTERNS_STREAMING, INDICATORS_STREAMING)
_MAX_WAITING = 100_000  # about 60 MB
_BURST_S = 0.25  # after a pause, messages of up to this many seconds may go out together


class Pacing:
    """Holds waiting messages of the two streaming channels; each has its own rate, per second; None: no limit.

    A row's number may be committed when none of its messages waits.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self.clear()

    def clear(self) -> None:
        """Drop the waiting messages: they will be read again."""
        self._waiting: dict[str, deque[tuple[int, int, Message]]] = {channel: deque() for channel in _CHANNELS}
        self._rows: dict[int, Counter[int]] = {}  # partition -> number -> waiting messages, in order of the numbers
        self._allowed = dict.fromkeys(_CHANNELS, 0.0)
        self._at_s: float | None = None

    @property
    def is_full(self) -> bool:
        """Tell whether enough messages wait, so that no more should be read."""
        return any(len(queue) >= _MAX_WAITING for queue in self._waiting.values())

    def hold_back(self, partition: int, number: int, messages: Iterable[Message]) -> list[Message]:
        """Keep the messages of a row that must wait; return the others."""
        if self._rate is None:
            return list(messages)
        at_once = []
        for message in messages:
            if message[0] in self._waiting:
                self._waiting[message[0]].append((partition, number, message))
                self._rows.setdefault(partition, Counter())[number] += 1
            else:
                at_once.append(message)
        return at_once

    def release(self, now_s: float) -> list[Message]:
        """Take the messages that may be published now, in order. The first call starts the clock.

        now_s: seconds of any clock that never goes back.
        """
        if self._rate is None:
            return []
        passed_s = now_s - self._at_s if self._at_s is not None else 0.0
        self._at_s = now_s
        most = max(1.0, self._rate * _BURST_S)
        messages = []
        for channel, queue in self._waiting.items():
            allowed = min(most, self._allowed[channel] + self._rate * passed_s)
            while queue and allowed >= 1.0:
                messages.append(self._take(queue))
                allowed -= 1.0
            self._allowed[channel] = allowed
        return messages

    def release_all(self) -> list[Message]:
        """Take all waiting messages."""
        return [self._take(queue) for queue in self._waiting.values() for _ in range(len(queue))]

    def done(self, partition: int, number: int) -> int:
        """Return the number up to which a partition, read up to `number`, may be committed."""
        rows = self._rows.get(partition)
        return min(number, next(iter(rows)) - 1) if rows else number

    def _take(self, queue: deque[tuple[int, int, Message]]) -> Message:
        partition, number, message = queue.popleft()
        rows = self._rows[partition]
        rows[number] -= 1
        if not rows[number]:
            del rows[number]
        return message
