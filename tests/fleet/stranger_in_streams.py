"""Entries of the partitions' streams and of the results, by who has every right of Redis."""

import time
from contextlib import suppress
from zlib import crc32

import msgspec
import numpy as np
import zstandard
from tickstockpl.contracts.errors import BadFrame, UnknownFrameVersion
from tickstockpl.contracts.frames.frame import VERSION, Frame, decode, encode, pack_columns
from tickstockpl.contracts.names import (
    DEAD_LETTERS,
    GROUP,
    HEARTBEAT,
    flow_key,
    is_front_door,
    results_key,
    stream_key,
)
from tickstockpl.contracts.ticks import OPTIONAL_COLUMNS, Refused, Ticks

from .stranger_hand import LAST_ID, NAMES, SYMBOLS

BOMB_ROWS = 600_000  # 26 bytes each, just below what a block may claim


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
    """Return (partition, bytes) of a frame of somebody else's that stands in a stream; None where there is none."""
    partition = hand.partition()
    for _, fields in hand.client.xrevrange(stream_key(partition), count=20):
        body = fields.get(b"f", b"")
        with suppress(BadFrame, UnknownFrameVersion):
            if not decode(body).producer.startswith("stranger"):
                return partition, body
    return None


# -- the kinds -------------------------------------------------------------------------------------------------------


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
    """Claim, in the name of a producer that lives, more numbers than there are rows.

    Not in the front door's name: its numbers are ids of entries, so that a claim looks like one of its frames. Whoever
    may write to partitions can speak for it.
    """
    if found := newest_frame(hand):
        real = decode(found[1])
        if is_front_door(real.producer):
            return
        claimed = own_frame(hand, producer=real.producer, feed=real.feed, previous=real.last, last=real.last + 10**7)
        hand.do("XADD", stream_key(found[0]), "*", "f", encode(claimed))


def frame_holes(hand):
    previous = next(hand.count) * 9
    name = f"stranger-hole-{hand.partition()}"
    hand.frame(encode(own_frame(hand, producer=name, previous=previous, last=previous + 3)))


def partition_ids(hand):
    hand.frame(hand.some((hand.bytes(), encode(own_frame(hand)))), hand.chosen_id())


def partition_last_id(hand):
    hand.frame(hand.some((hand.bytes(), encode(own_frame(hand)))), LAST_ID)


def flow_fields(hand):
    name = hand.some((hand.bytes(), b"want:stranger-1", b"done:stranger-1", b"sent:stranger-1", b"want:", b":"))
    hand.do("HSET", flow_key(hand.partition()), name, hand.bytes(30))


def consumers(hand):
    name = hand.some(("\x1b[31mred\x07", b"\xff\xfe", "", "x" * 10_000, "\u202e"))
    hand.do("XGROUP", "CREATECONSUMER", stream_key(hand.partition()), GROUP, name)


def results_entries(hand):
    fields = hand.some(([hand.bytes(), hand.bytes()], ["kind", "patterns", "body", hand.bytes()],
                        ["kind", hand.bytes(), "body", b"[]"], ["kind", "void", "body", b"{}"]))  # fmt: skip
    hand.do("XADD", results_key(hand.partition()), "*", *fields)


def dead_letters(hand):
    hand.do("XADD", DEAD_LETTERS, "*", hand.bytes(), hand.bytes(), "reason", hand.bytes())


def heartbeat(hand):
    hand.do("SET", HEARTBEAT, hand.bytes())
