"""A subscriber of everything that the bridge says, who sees what it missed."""

import json

from .background import Background, client_of

RESULT_CHANNELS = ("tickstock.events.*", "tickstock:patterns:*", "tickstock:indicators:*", "tickstock:streaming:*",
                   "tickstock:alerts:*", "tickstock:monitoring")  # fmt: skip


class Listener(Background):
    """Hears all results. holes: (epoch, channel, expected, heard), where a number was left out while we listened."""

    def __init__(self, servers):
        super().__init__()
        self.heard = 0
        self.results = set()  # (partition, outbox number)
        self.stretches = []  # of uninterrupted listening: {partition: [numbers in the order that they were heard]}
        self.holes = []
        self._client = client_of(servers)
        self._pubsub = None
        self._next = {}

    def turn(self):
        if self._pubsub is None:
            self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
            self._pubsub.psubscribe(*RESULT_CHANNELS)
            self.stretches.append({})
        while message := self._pubsub.get_message(timeout=0.2):
            self._hear(message["channel"].decode(), message["data"])
        return 0

    def on_away(self):
        """Begin anew: what was said meanwhile is missed, and the application would ask for it by its number."""
        if self._pubsub is not None:
            self._pubsub.close()
        self._pubsub = None
        self._next = {}

    def _hear(self, channel, body):
        try:
            message = json.loads(body)
            epoch, seq = message["epoch"], message["seq"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return  # a stranger's
        self.heard += 1
        expected = self._next.get((epoch, channel), seq)
        if seq != expected:
            self.holes.append((epoch, channel, expected, seq))
        self._next[epoch, channel] = seq + 1
        if result_id := message.get("result_id"):
            partition, number = map(int, result_id.split("-"))
            self.results.add((partition, number))
            self.stretches[-1].setdefault(partition, []).append(number)

    def passed_over(self, partition, numbers):
        """Return which of some results were never heard, though one before and one behind were within a stretch."""
        heard = [stretch[partition] for stretch in self.stretches if partition in stretch]
        return {
            number
            for number in numbers
            if (partition, number) not in self.results and any(min(some) < number < max(some) for some in heard)
        }

    def finish(self, within_s=120):
        super().finish(within_s)
        self._client.close()
