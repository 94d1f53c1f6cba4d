"""Inputs as a stranger would make them: frames of ours with something odd in them, sealed as if it were right.

What is in one frame comes from a seed of its own, ten times faster than drawn piece by piece; which frames come in
which order, Hypothesis draws, and shrinks.
"""

import random
import zlib

import msgspec
import numpy as np
import zstandard
from hypothesis import strategies as st
from tickstockpl.contracts.frames.frame import Frame, pack_columns
from tickstockpl.contracts.ticks import OPTIONAL_COLUMNS, REASONS, Refused, Ticks

MINUTE = 29_000_000  # of 2025
START_NS = MINUTE * 60 * 10**9
START_MS = START_NS // 10**6

NUMBERS = (-1, 0, 1, 2, 5, 512, 33_280, 33_281, 2**24, 2**31, 2**43, 2**48, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (1.0, 100.25, 0.0, -1.0, 1e-9, 1e11, 1e12, 1e14, 1e300, float("nan"), float("inf"), float("-inf"), -0.0)
TIMES_S = (0, 1, 59, 60, 61, -1200, 960, 2**33, -(2**34))
SYMBOLS = ("A", "B", "Ä", "BRK.B")
TEXTS = ("", "\x00", "A" * 21, "A" * 300, "\u200b", "\u202e", "é", "\x1b[31m", "live.AM", "nothing", "lz4", "\u009b2J")

# Pieces of MessagePack that no encoder of ours writes: a text that is no UTF-8, nesting without end, claims of sizes.
ODD_PIECES = (
    b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\x91" * 3000 + b"\xc0", b"\x81\xa1a" * 3000 + b"\xc0", b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdf\x7f\xff\xff\xff", b"\xc1", b"\xd6\xffabcd", b"\xc0",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\x90", b"\x80", b"\xa0",
    b"\xa1\x00", b"\xa5\x1b[31m", b"\xc4\x01\xff", b"",
)  # fmt: skip

# (producer, feed, kind) as our programs make them, and a few that nobody's do.
WHO = (
    *[
        ("stranger", "live", "live"),
        ("massive-1", "live", "live"),
        ("x", "own", "live"),
        ("repair-1", "repair", "live"),
    ],
    *[("r", "r", "replay"), ("r", "r", "replay"), ("r", "r", "end"), ("r", "r", "abandon"), ("x", "own", "end")],
    *[("front-door", "live", "live"), ("front-door#2", "live", "live"), ("stranger", "live", "end")],
)
ODD_WHO = (("live", "live", "end"), ("x", "r", "live"), ("p", "p", "end"), ("front-door", "front-door", "end"))


def sealed(array):
    """Put the checksum behind an array that some program wrote."""
    return array + zlib.crc32(array).to_bytes(4, "little")


def packed(values):
    """Encode a frame's values; one that is msgspec.Raw stands as it is."""
    return bytes([0x90 | len(values)]) + b"".join(
        bytes(v) if isinstance(v, msgspec.Raw) else msgspec.msgpack.encode(v) for v in values
    )


def bomb(size):
    """Return some hundred bytes that unpack to so many."""
    return zstandard.ZstdCompressor(level=1, write_content_size=True).compress(bytes(size))


BOMBS = (bomb(26 * 645_000), bomb(26 * 33_280), b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little"),
         zstandard.ZstdCompressor(write_content_size=False).compress(bytes(260)),
         b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd", b"", b"\x28\xb5\x2f\xfd")  # fmt: skip


class Stranger:
    """Makes frames, each with some oddity or none. odd: how likely one value is not as our programs make it."""

    def __init__(self, seed, *, odd=0.1):
        self.random = random.Random(seed)
        self.odd = odd

    def is_odd(self):
        return self.random.random() < self.odd

    def number(self, low, high):
        return self.random.choice(NUMBERS) if self.is_odd() else self.random.randint(low, high)

    def value(self):
        return self.random.choice(FLOATS) if self.is_odd() else round(self.random.uniform(1, 200), 2)

    def ticks(self, first=None, last=None):
        """Make some ticks; first, last: the bounds of their row ids, for the front door."""
        count = self.random.choice((0, 1, 2, 3, 6, 600 if self.is_odd() else 4))
        symbols = list(SYMBOLS[: self.random.randint(1, 4)])
        names = self.random.sample(sorted(OPTIONAL_COLUMNS), self.random.choice((0, 0, 1, 3)))
        optional = {name: np.array([self._cell(name) for _ in range(count)], OPTIONAL_COLUMNS[name]) for name in names}
        optional.pop("row_id", None)
        if first is not None:
            ids = sorted(self.random.randint(first, last) for _ in range(count))
            optional["row_id"] = np.array(ids, "<i8")
        seconds = [self.random.choice(TIMES_S) if self.is_odd() else self.random.randint(0, 120) for _ in range(count)]
        ts = [min(2**63 - 1, max(-(2**63), START_NS + s * 10**9)) for s in seconds]
        codes = [self.random.randrange(len(symbols)) for _ in range(count)]
        price, size = ([self.value() for _ in range(count)] for _ in range(2))
        return Ticks(symbols, np.array(codes, "<u2"), np.array(ts, "<i8"), np.array(price), np.array(size), optional)

    def _cell(self, name):
        if OPTIONAL_COLUMNS[name].kind == "f":
            return self.value()
        if name in ("trade_key", "row_id"):
            return self.random.choice((0, 1, 2, 2**63 - 1))
        return self.random.choice((0, 0, 1, 2, 255 if self.is_odd() else 7))

    def refusals(self):
        return [
            Refused(
                self.random.choice(TEXTS) if self.is_odd() else self.random.choice(REASONS),
                self.random.choice((*TEXTS, "d" * 9000)) if self.is_odd() else "why",
                bytes(65_537) if self.is_odd() else self.random.choice((b"", b"\xff\x00", b"x" * 65_536)),
                min(self.number(1, 4), 2**63 - 1),
            )
            for _ in range(self.random.choice((0, 0, 0, 1, 2)))
        ]

    def values(self):
        """Make the values of a frame by name, in their order."""
        producer, feed, kind = self.random.choice(ODD_WHO if self.is_odd() else WHO)
        previous = self.random.choice((0, 0, 0, 1, 2, 4, 6, 2**47, 2**62 if self.is_odd() else 3))
        is_door = producer.startswith("front-door")
        made = self.ticks(previous + 1, previous + 5) if is_door else self.ticks()
        refused = self.refusals()
        rows = len(made) + len(refused)
        codec = self.random.choice(("zstd", "none"))
        return {
            "version": 1, "producer": producer, "feed": feed, "kind": kind, "previous": previous,
            "last": previous + (5 if is_door else 0 if kind == "abandon" else rows + (kind == "end")),
            "born_ms": START_MS + self.random.choice((0, 500, 60_000, -START_MS if self.is_odd() else 1)),
            "delay_ms": self.random.choice((0, 0, 900_000, 2**43 - 1 if self.is_odd() else 0)),
            "publish": self.random.random() < 0.5, "count": len(made), "symbols": list(made.symbols),
            "columns": list(made.optional), "codec": codec,
            "block": pack_columns(made, codec) if len(made) else b"", "refused": refused,
        }  # fmt: skip

    def odd_value(self, name):
        if self.random.random() < 0.4:
            return msgspec.Raw(self.random.choice(ODD_PIECES))
        if name == "block":
            return self.random.choice((*BOMBS, self.random.randbytes(30)))
        if name in ("symbols", "columns"):
            return [self.random.choice((*TEXTS, *OPTIONAL_COLUMNS, "A")) for _ in range(self.random.randint(0, 9))]
        return self.random.choice((*NUMBERS, *TEXTS))

    def frame(self):
        """Make the bytes of an entry; its checksum is mostly right."""
        values = self.values()
        while self.is_odd():
            name = self.random.choice(Frame.__struct_fields__)
            values[name] = self.odd_value(name)
        array = bytearray(packed(list(values.values())))
        while self.is_odd():
            array[self.random.randrange(len(array))] = self.random.randrange(256)
        if self.is_odd():
            array = array[: self.random.randrange(len(array))] or bytearray(1)
        return bytes(array) if self.is_odd() else sealed(bytes(array))


def foreign_frames(odd=0.1):
    return st.integers(0, 2**62).map(lambda seed: Stranger(seed, odd=odd).frame())
