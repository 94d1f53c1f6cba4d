"""A stranger who sends bytes, a hundred times a second, to every place that takes some; each kind can be left out.

He has the application's rights (the front door, the channels), or every right of Redis (streams of partitions, results,
other channels). What he does not do: make a whole and plausible frame under a living producer's name, for nothing but
a signature would tell it from that producer's own; delete or trim what others sent; overwrite a key with another type.
His ticks that are sound have symbols of his own.
"""

import random
import time
from collections import Counter

from redis.exceptions import ResponseError

from . import stranger_at_the_door as door
from . import stranger_in_streams as streams
from . import stranger_on_channels as channels
from .background import AWAY, Background, client_of
from .stranger_hand import Hand

KINDS = {
    kind.__name__: kind
    for kind in (
        door.door_fields, door.door_values, door.door_json, door.door_array, door.door_undoes, door.door_times,
        door.door_ids, door.door_last_id,
        channels.channel_json, channels.channel_bytes, channels.command_channels, channels.result_channels,
        streams.frame_bytes, streams.frame_fields, streams.frame_damaged, streams.frame_twice, streams.frame_elsewhere,
        streams.frame_mutated, streams.frame_msgpack, streams.frame_deep, streams.frame_symbols, streams.frame_values,
        streams.frame_header, streams.frame_columns, streams.frame_version, streams.frame_bomb, streams.frame_numbers,
        streams.frame_holes, streams.partition_ids, streams.partition_last_id, streams.flow_fields, streams.consumers,
        streams.results_entries, streams.dead_letters, streams.heartbeat,
    )
}  # fmt: skip


def chosen_kinds(text):
    """Read which kinds are wanted: `all`, a list, or a list of those left out, each with a minus before it."""
    words = [word for word in text.split(",") if word]
    if text == "all" or all(word.startswith("-") for word in words):
        return [name for name in KINDS if f"-{name}" not in words]
    assert set(words) <= KINDS.keys(), f"{text}: the kinds are {', '.join(KINDS)}"
    return words


class Stranger(Background):
    """Does one thing of a random kind so many times a second.

    turns: how often he had one. done, refused: his commands, by kind; refused by Redis itself.
    """

    def __init__(self, servers, kinds, *, partitions, rate, seed):
        super().__init__()
        self.turns = 0
        self.done = Counter()
        self.refused = Counter()
        self._client = client_of(servers)
        self._kinds = [KINDS[name] for name in kinds]
        self._every_s = 1 / rate
        self._hand = Hand(self._do, random.Random(seed), self._client, partitions)
        self._next = time.monotonic()
        self._kind = ""

    def turn(self):
        while self._kinds and time.monotonic() >= self._next:
            self._next += self._every_s
            kind = self._hand.some(self._kinds)
            self._kind = kind.__name__
            self.turns += 1
            kind(self._hand)
        return self._every_s

    def on_away(self):
        self._next = time.monotonic()

    def _do(self, *words):
        try:
            self._client.execute_command(*words)
            self.done[self._kind] += 1
        except AWAY:
            raise
        except ResponseError:
            self.refused[self._kind] += 1

    def finish(self, within_s=120):
        super().finish(within_s)
        self._client.close()
