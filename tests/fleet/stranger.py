"""A stranger who sends bytes, a hundred times a second, to every place that takes some: each kind is one function here.

He has the application's rights (the front door, the channels), or every right of Redis (streams of partitions, results,
other channels). What he does not do: make a whole and plausible frame under a living producer's name, for nothing but
a signature would tell it from that producer's own; delete or trim what others sent; overwrite a key with another type.
His ticks that are sound have symbols of his own.
"""

import itertools
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import redis
import zstandard
from redis.exceptions import ResponseError
from tickstockpl.contracts import channel_names
from tickstockpl.contracts.frame import VERSION, Frame, decode, encode, pack_columns
from tickstockpl.contracts.names import DEAD_LETTERS, FRONT_DOOR, HEARTBEAT, TICK_CHANNELS, flow_key, results_key, stream_key
from tickstockpl.contracts.ticks import OPTIONAL_COLUMNS, Refused, Ticks

from .background import AWAY, Background, client_of

SYMBOLS = ("ZZZ.A", "ZZZ.B", "ZZZ.C")
ASKED_CHANNELS = ("tickstock.jobs.data_load", "tickstock.jobs.control", "tickstock.jobs.backtest", "tickstock.jobs.cancel",
                  "tickstock:monitoring:control", "tickstock.test.connectivity")  # fmt: skip
RESULT_CHANNELS = tuple(sorted(name for key, name in vars(channel_names).items() if key.isupper()))
TICKS_OF_A_LONG_ARRAY = 900  # 64 kB
BOMB_ROWS = 600_000  # 26 bytes each, just below what a block may claim
LAST_ID = "18446744073709551615-18446744073709551615"

NUMBERS = ("NaN", "-NaN", "inf", "-1", "0", "", "1e308", "1e-9", "0.0000004", "9" * 400, "1,5", "0x10", "1e13", "١٢", "true",
           "--1", "1e", " ", "\x00", "4.9e-324")  # fmt: skip
TIMES = ("0", "-1", "1e30", "631152000", "4102444799", "1900-01-01", "2025-13-45T99:99:99", "soon", "", "NaN",
         "99999999999999999999999", "2025-09-11T14:30:00+99:99")  # fmt: skip
NAMES = (b"", b"A" * 21, b"\xff\xfe", b"A\x00B", b"A\nB", "\u202eAPL".encode(), b"=1+1", b"\x1b[31mred", "Ä".encode() * 11)


@dataclass
class Hand:
    """What a kind of mischief has at hand. do: takes the words of a Redis command."""

    do: Any
    numbers: random.Random
    client: redis.Redis
    partitions: int
    count: itertools.count = field(default_factory=lambda: itertools.count(1))

    def bytes(self, longest=300):
        return self.numbers.randbytes(self.numbers.randrange(longest))

    def partition(self):
        return self.numbers.randrange(self.partitions)

    def some(self, values):
        return self.numbers.choice(values)

    def frame(self, body, entry_id="*"):
        self.do("XADD", stream_key(self.partition()), entry_id, "f", body)

    def now_ms(self):
        return time.time_ns() // 1_000_000


# -- the front door ----------------------------------------------------------------------------------------------------


def sound_fields(hand, **changed):
    tick = {"symbol": hand.some(SYMBOLS), "price": "100.5", "volume": "7", "timestamp": str(hand.now_ms())}
    return [word for pair in (tick | changed).items() for word in pair]


def door_fields(hand):
    names = (b"symbol", b"price", b"data", b"f", b"", hand.bytes(), b"timestamp", b"type")
    fields = [(hand.some(names), hand.bytes()) for _ in range(hand.numbers.randrange(1, 6))]
    hand.do("XADD", FRONT_DOOR, "*", *itertools.chain(*fields))


def door_values(hand):
    name = hand.some(("symbol", "price", "volume", "timestamp", "type", "trade_id", "exchange"))
    values = {"symbol": NAMES, "timestamp": TIMES, "type": ("AM", "A", "status", hand.bytes())}
    hand.do("XADD", FRONT_DOOR, "*", *sound_fields(hand, **{name: hand.some(values.get(name, NUMBERS))}))


def door_json(hand):
    hand.do("XADD", FRONT_DOOR, "*", "data", odd_json(hand))


def door_array(hand):
    if hand.numbers.random() < 0.1:
        tick = {"sym": hand.some(SYMBOLS), "ev": "T", "p": 100, "s": 1, "t": hand.now_ms()}
        hand.do("XADD", FRONT_DOOR, "*", "data", json.dumps([tick] * TICKS_OF_A_LONG_ARRAY))


def door_undoes(hand):
    kind = hand.some(("cancel", "correct"))
    fields = sound_fields(hand, type=kind, exchange=hand.some(NUMBERS), trade_id=hand.bytes(40))
    hand.do("XADD", FRONT_DOOR, "*", *fields)


def door_times(hand):
    at_ms = hand.some((631_152_000_001, hand.now_ms() - 3_600_000, hand.now_ms() + 3_600_000, 4_102_444_799_000))
    hand.do("XADD", FRONT_DOOR, "*", *sound_fields(hand, timestamp=str(at_ms)))


def door_ids(hand):
    hand.do("XADD", FRONT_DOOR, chosen_id(hand), *sound_fields(hand))


def door_last_id(hand):
    hand.do("XADD", FRONT_DOOR, LAST_ID, *sound_fields(hand))


def chosen_id(hand):
    now_ms = hand.now_ms()
    return hand.some((f"{now_ms * 1000}-0", f"{now_ms + 3_600_000}-0", f"{now_ms + 3_155_760_000_000}-7",
                      f"{now_ms + 5}-{2**20 + 5}", f"{now_ms - 60_000}-1", f"{2**43}-0"))  # fmt: skip


# -- channels ----------------------------------------------------------------------------------------------------------


def channel_json(hand):
    hand.do("PUBLISH", hand.some(TICK_CHANNELS).replace("*", "ZZZ.A"), odd_json(hand))


def channel_bytes(hand):
    hand.do("PUBLISH", hand.some(TICK_CHANNELS).replace("*", "ZZZ.A"), hand.bytes(3000))


def job_channels(hand):
    hand.do("PUBLISH", hand.some(ASKED_CHANNELS), hand.some((hand.bytes(), odd_json(hand))))


def result_channels(hand):
    hand.do("PUBLISH", hand.some(RESULT_CHANNELS), hand.some((hand.bytes(), odd_json(hand))))


def odd_json(hand):
    """Make a message that no tick can be read from, or one that is sound but of next year."""
    return hand.some(ODD_JSON)(hand)


def deep(hand):
    return hand.some(("[", '{"a":')) * hand.numbers.randrange(1, 60_000)


def cut_off(hand):
    body = json.dumps(sound_message(hand))
    return body[: hand.numbers.randrange(1, len(body) - 1)]


def wrong_value(hand):
    name = hand.some(("ticker", "price", "volume", "timestamp", "event_type"))
    return json.dumps(sound_message(hand) | {name: hand.some((None, True, [], {}, "x" * 30, [[]], -1, 10**400, ""))})


def wrong_spelling(hand):
    return f'{{"ticker":"ZZZ.A","price":{hand.some(("NaN", "1e999", "-0", "Infinity", "1.5.5"))},"volume":1,"timestamp":1e9}}'


def lone_surrogate(hand):
    return '{"ticker":"\\ud800","price":1.5,"volume":1,"timestamp":1757600000}'


def of_next_year(hand):
    return json.dumps(sound_message(hand) | {"timestamp": hand.now_ms() + 31_622_400_000})


def array_of_anything(hand):
    return json.dumps([hand.some((1, None, "x", [], {}, {"ev": "status"}, {"ev": "?"}, {"test": 1})) for _ in range(50)])


def sound_message(hand):
    return {"event_type": "T", "ticker": hand.some(SYMBOLS), "price": 100.5, "volume": 7, "timestamp": hand.now_ms()}


ODD_JSON = (
    lambda hand: hand.bytes(), deep, cut_off, wrong_value, wrong_spelling, lone_surrogate, of_next_year,
    array_of_anything,
)  # fmt: skip


# -- streams of the partitions -----------------------------------------------------------------------------------------


def ticks(count=3, **columns):
    values = {"ts": time.time_ns(), "price": 100.5, "size": 7.0} | columns
    index = np.arange(count, dtype="<u2") % len(SYMBOLS)
    filled = {name: np.full(count, value, "<i8" if name == "ts" else "<f8") for name, value in values.items()}
    return Ticks(list(SYMBOLS), index, filled["ts"], filled["price"], filled["size"])


def own_frame(hand, rows=None, **changed):
    """Make a frame that is right in itself, of a producer whom nobody knew before."""
    rows = ticks() if rows is None else rows
    values = {
        "version": VERSION, "producer": f"stranger-{next(hand.count)}", "feed": "live", "kind": "live", "previous": 0,
        "last": len(rows), "born_ms": hand.now_ms(), "delay_ms": 0, "publish": True, "count": len(rows),
        "symbols": list(rows.symbols), "columns": list(rows.optional), "codec": "zstd", "block": pack_columns(rows),
        "refused": [],
    }  # fmt: skip
    return Frame(**values | changed)


def with_checksum(array):
    return array + crc32(array).to_bytes(4, "little")


def flipped(hand, body):
    changed = bytearray(body)
    for _ in range(hand.numbers.randrange(1, 9)):
        changed[hand.numbers.randrange(len(changed))] ^= 1 << hand.numbers.randrange(8)
    return bytes(changed)


def newest_frame(hand):
    """Return (partition, bytes) of a frame that stands in a stream; None where there is none."""
    partition = hand.partition()
    entries = hand.client.xrevrange(stream_key(partition), count=5)
    bodies = [fields[b"f"] for _, fields in entries if b"f" in fields]
    return (partition, bodies[-1]) if bodies else None


def frame_bytes(hand):
    hand.frame(hand.bytes(2000))


def frame_fields(hand):
    hand.do("XADD", stream_key(hand.partition()), "*", hand.bytes(20), hand.bytes(), *(b"f", b"") * hand.some((0, 1)))


def frame_damaged(hand):
    if found := newest_frame(hand):
        hand.do("XADD", stream_key(found[0]), "*", "f", flipped(hand, found[1]))


def frame_twice(hand):
    if found := newest_frame(hand):
        hand.do("XADD", stream_key(found[0]), "*", "f", found[1])


def frame_elsewhere(hand):
    """Say a frame in a partition that is not its symbols'; under a new name: it would be a tick in two places."""
    hand.frame(encode(own_frame(hand)))


def frame_mutated(hand):
    hand.frame(with_checksum(flipped(hand, encode(own_frame(hand))[:-4])))


def frame_msgpack(hand):
    values = (0, -1, 2**63, "x", b"\xff", [], None, 1.5, [[]] * 20, {"a": 1})
    length = hand.some((0, 1, 14, 15, 16, 17))
    hand.frame(with_checksum(msgspec.msgpack.encode([VERSION, *(hand.some(values) for _ in range(length))])))


def frame_deep(hand):
    hand.frame(with_checksum(b"\x91" * hand.numbers.randrange(1, 50_000)))


def frame_symbols(hand):
    name = hand.some(NAMES)
    placeholder = b"#" * len(name)
    body = encode(own_frame(hand, symbols=[placeholder.decode(), *SYMBOLS[1:]]))[:-4]
    hand.frame(with_checksum(body.replace(placeholder, name) if name else body))


def frame_values(hand):
    odd = (float("nan"), float("inf"), -1.0, 0.0, 1e308, 5e-324, 1e-9)
    name = hand.some(("price", "size", "ts"))
    value = hand.some((0, -(2**63), 2**63 - 1, 1)) if name == "ts" else hand.some(odd)
    hand.frame(encode(own_frame(hand, ticks(**{name: value}))))


def frame_header(hand):
    changed = hand.some((
        {"previous": 2**62, "last": 2**63 - 1}, {"previous": 5, "last": 4}, {"last": 2**63 - 1}, {"count": 2**24 - 1},
        {"count": 0}, {"born_ms": 2**43 - 1}, {"born_ms": 0}, {"delay_ms": 2**43 - 1}, {"symbols": []}, {"kind": "end"},
        {"kind": "replay"}, {"kind": "abandon"}, {"feed": "repair"}, {"feed": "live.AM"}, {"codec": "none"},
        {"block": b""}, {"block": b"\x28\xb5\x2f\xfd" + hand.bytes()}, {"symbols": ["ZZZ.A"] * 70_000},
        {"refused": [Refused(hand.some(("price", "?")), "x" * 300, hand.bytes(), 2**62)]},
    ))  # fmt: skip
    hand.frame(encode(own_frame(hand, **changed)))


def frame_columns(hand):
    name = hand.some((*OPTIONAL_COLUMNS, "unknown", ""))
    frame = own_frame(hand)
    column = hand.numbers.randbytes(8 * 3) if name in OPTIONAL_COLUMNS else b""
    raw = zstandard.decompress(frame.block) + column[: 3 * OPTIONAL_COLUMNS.get(name, np.dtype("u1")).itemsize]
    hand.frame(encode(msgspec.structs.replace(frame, columns=[name], codec="none", block=raw)))


def frame_version(hand):
    hand.frame(encode(own_frame(hand, version=hand.some((0, 2, 99, -1, 2**63 - 1)))))


def frame_bomb(hand):
    if hand.numbers.random() < 0.02:
        block = zstandard.ZstdCompressor(write_content_size=hand.some((True, False))).compress(bytes(26 * BOMB_ROWS))
        hand.frame(encode(own_frame(hand, count=BOMB_ROWS, last=BOMB_ROWS, block=block)))


def frame_numbers(hand):
    """Claim, in the name of a producer that lives, more numbers than there are rows."""
    if found := newest_frame(hand):
        real = decode(found[1])
        claimed = own_frame(hand, producer=real.producer, feed=real.feed, previous=real.last, last=real.last + 10**7)
        hand.do("XADD", stream_key(found[0]), "*", "f", encode(claimed))


def frame_holes(hand):
    hand.frame(encode(own_frame(hand, producer=f"stranger-hole-{hand.partition()}", previous=(n := next(hand.count) * 9),
                                last=n + 3)))  # fmt: skip


def partition_ids(hand):
    hand.frame(hand.some((hand.bytes(), encode(own_frame(hand)))), chosen_id(hand))


def partition_last_id(hand):
    hand.frame(hand.some((hand.bytes(), encode(own_frame(hand)))), LAST_ID)


def flow_fields(hand):
    name = hand.some((hand.bytes(), b"want:stranger-1", b"done:stranger-1", b"sent:stranger-1", b"want:", b":"))
    hand.do("HSET", flow_key(hand.partition()), name, hand.bytes(30))


def consumers(hand):
    name = hand.some(("\x1b[31mred\x07", b"\xff\xfe", "", "x" * 10_000, "\u202e"))
    hand.do("XGROUP", "CREATECONSUMER", stream_key(hand.partition()), "tickstockpl-group", name)


# -- results and the rest ----------------------------------------------------------------------------------------------


def results_entries(hand):
    fields = hand.some(([hand.bytes(), hand.bytes()], ["kind", "patterns", "body", hand.bytes()],
                        ["kind", hand.bytes(), "body", b"[]"], ["kind", "void", "body", b"{}"]))  # fmt: skip
    hand.do("XADD", results_key(hand.partition()), "*", *fields)


def dead_letters(hand):
    hand.do("XADD", DEAD_LETTERS, "*", hand.bytes(), hand.bytes(), "reason", hand.bytes())


def heartbeat(hand):
    hand.do("SET", HEARTBEAT, hand.bytes())


KINDS = {
    kind.__name__: kind
    for kind in (
        door_fields, door_values, door_json, door_array, door_undoes, door_times, door_ids, door_last_id, channel_json,
        channel_bytes, job_channels, result_channels, frame_bytes, frame_fields, frame_damaged, frame_twice,
        frame_elsewhere, frame_mutated, frame_msgpack, frame_deep, frame_symbols, frame_values, frame_header,
        frame_columns, frame_version, frame_bomb, frame_numbers, frame_holes, partition_ids, partition_last_id,
        flow_fields, consumers, results_entries, dead_letters, heartbeat,
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
    """Does one thing of a random kind so many times a second. done, refused: how often, by kind."""

    def __init__(self, servers, kinds, *, partitions, rate, seed):
        super().__init__()
        self.done = Counter()
        self.refused = Counter()  # by Redis itself
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
