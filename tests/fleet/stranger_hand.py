"""What a stranger has at hand: random bytes, odd values, and a way to say a command to Redis."""

import itertools
import random
import time
from dataclasses import dataclass, field
from typing import Any

import redis
from tickstockpl.contracts.names import stream_key

SYMBOLS = ("ZZZ.A", "ZZZ.B", "ZZZ.C")
LAST_ID = "18446744073709551615-18446744073709551615"

NUMBERS = (
    "NaN", "-NaN", "inf", "-1", "0", "", "1e308", "1e-9", "0.0000004", "9" * 400, "1,5", "0x10", "1e13", "\u0661\u0662",
    "true", "--1", "1e", " ", "\x00", "4.9e-324",
)  # fmt: skip
TIMES = (
    "0", "-1", "1e30", "631152000", "4102444799", "1900-01-01", "2025-13-45T99:99:99", "soon", "", "NaN",
    "99999999999999999999999", "2025-09-11T14:30:00+99:99",
)  # fmt: skip
NAMES = (
    b"", b"A" * 21, b"\xff\xfe", b"A\x00B", b"A\nB", "\u202eAPL".encode(), b"=1+1", b"\x1b[31mred",
    "\u00c4".encode() * 11,
)  # fmt: skip


@dataclass
class Hand:
    """do: takes the words of a Redis command. count: numbers that are given once."""

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

    def chosen_id(self):
        """Return an id of an entry that no clock has given."""
        now_ms = self.now_ms()
        return self.some((
            f"{now_ms * 1000}-0", f"{now_ms + 3_600_000}-0", f"{now_ms + 3_155_760_000_000}-7",
            f"{now_ms + 5}-{2**20 + 5}", f"{now_ms - 60_000}-1", f"{2**43}-0",
        ))  # fmt: skip
