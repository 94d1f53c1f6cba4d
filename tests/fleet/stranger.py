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
    """Read which kinds are wanted: `all`, a list (an empty one: none), or those left out, each with a minus before."""
    words = [word for word in text.split(",") if word]
    if text == "all" or (words and all(word.startswith("-") for word in words)):
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
        self._rate = rate
        self._hand = Hand(self._do, random.Random(seed), self._client, partitions)
        self._commands = []  # (kind, words) of this turn
        self._kind = ""
        self._next = time.monotonic()

    def turn(self):
        """Do what is due; what a busy machine has kept us from for more than a second is left out."""
        now = time.monotonic()
        self._next = max(self._next, now - 1.0)
        while self._kinds and self._next <= now:
            self._next += 1 / self._rate
            self._act(self._hand.some(self._kinds))
        self._send()
        return 0.05

    def _act(self, kind):
        self._kind = kind.__name__
        self.turns += 1
        kind(self._hand)

    def _do(self, *words):
        self._commands.append((self._kind, words))

    def _send(self):
        pipeline = self._client.pipeline(transaction=False)
        for _, words in self._commands:
            pipeline.execute_command(*words)
        commands, self._commands = self._commands, []
        for (kind, _), reply in zip(commands, pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(reply, AWAY):
                raise reply
            (self.refused if isinstance(reply, ResponseError) else self.done).update([kind])

    def finish(self, within_s=120):
        super().finish(within_s)
        self._client.close()
