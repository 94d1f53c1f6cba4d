import json
import random
from collections import Counter
from datetime import UTC, datetime

import msgspec
import numpy as np
from foreign import FLOATS, NUMBERS, TEXTS
from fuzzing import fuzz
from hypothesis import strategies as st
from tickstockpl.contracts.accepted.acceptance import ACCEPTED
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.messages.message_examples import example_messages
from tickstockpl.contracts.spellings.massive_json import parse_messages
from tickstockpl.contracts.spellings.tick_json import parse_bodies, parse_entries
from tickstockpl.contracts.ticks import MAX_BODY_BYTES, MAX_PRICE, MAX_SIZE, MAX_TS_NS, MIN_TS_NS, REASONS
from tickstockpl.contracts.universe import symbols_of_text, symbols_of_value
from tickstockpl.ops.jobs.contract_check import Received
from tickstockpl.ops.jobs.watch import line, message_of

NOW_S = 1_740_000_000
TICKS = (
    {"type": "market_tick", "symbol": "A", "price": 1.5, "volume": 10, "timestamp": NOW_S, "source": "x"},
    {"ticker": "A", "price": 1.5, "volume": 10, "timestamp": NOW_S, "event_type": "A", "tick_open": 1, "tick_high": 2,
     "tick_low": 1, "tick_close": 1.5, "tick_volume": 5, "tick_vwap": 1.2, "bid": None, "ask": None},
    {"event_type": "tick_data", "ticker": "A", "price": 1.5, "volume": 10, "timestamp": NOW_S + 0.5},
    {"ev": "T", "sym": "A", "x": 4, "i": "71", "z": 3, "p": 1.5, "s": 10, "ds": "10.5", "c": [37], "t": NOW_S * 1000},
    {"ev": "A", "sym": "A", "v": 10, "dv": "1.5", "vw": 1.5, "o": 1, "c": 2, "h": 2, "l": 1, "s": NOW_S * 1000, "e": 1},
    {"ev": "AM", "sym": "A", "v": 10, "vw": 1.5, "o": 1, "c": 2, "h": 2, "l": 1, "s": NOW_S * 1000, "e": 1},
    {"ev": "Q", "sym": "A", "t": NOW_S * 1000}, {"ev": "status", "status": "connected", "message": "x"},
    {"type": "cancel", "symbol": "A", "exchange": 4, "trade_id": "71", "timestamp": NOW_S},
    {"type": "correct", "symbol": "A", "exchange": "4", "trade_id": 71, "price": 2, "volume": 3, "timestamp": NOW_S},
    {"test": "health_check"}, {"symbol": "A", "price": "1.5", "size": "10", "timestamp": "2025-02-19T14:30:00Z"},
)  # fmt: skip

# Pieces of JSON that are none, or that some readers choke on.
ODD_JSON = (
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" * 5000, "0." + "1" * 5000, '"\\ud800"', '"\\u0000"', "nul",
    "[" * 2000, "[" * 2000 + "]" * 2000, '{"a":' * 2000 + "1" + "}" * 2000, '"', "{", "}", "\xff", "-0", "1e-400",
    "true", "null", "[]", "{}", '"\u202e\u009b2J"', "18446744073709551616", "-9223372036854775809", '"1e5"', '"0x10"',
    '"\uff19"', '" 1 "', '"1_000"', '"nan"', '"inf"', '"2025-02-30T00:00:00Z"', '"0001-01-01T00:00:00"', '"1e99999999"',
)  # fmt: skip


class Sender:
    """Makes JSON messages with some oddity or none."""

    def __init__(self, seed, *, odd=0.15):
        self.random = random.Random(seed)
        self.odd = odd

    def is_odd(self):
        return self.random.random() < self.odd

    def spell(self, value):
        """Spell a value as JSON, each part of it perhaps as something else."""
        if self.is_odd() and self.is_odd():
            return self.random.choice(ODD_JSON)
        if self.is_odd():
            value = self.random.choice((*NUMBERS, *FLOATS, *TEXTS, [], {}, None, True))
        if isinstance(value, dict):
            names = list(value)
            while names and self.is_odd():
                names.remove(self.random.choice(names))
            while names and self.is_odd():
                names.append(self.random.choice(names))
            members = ",".join(f"{json.dumps(self.odd_name(name))}:{self.spell(value.get(name))}" for name in names)
            return f"{{{members}}}"
        if isinstance(value, list | tuple):
            return f"[{','.join(self.spell(item) for item in value)}]"
        return json.dumps(value)

    def odd_name(self, name):
        return self.random.choice(TEXTS) if self.is_odd() and self.is_odd() else name

    def message(self, examples):
        """Make the bytes of one message: an example or an array of some, its bytes perhaps damaged."""
        chosen = self.random.choice(examples)
        if self.random.random() < 0.4:
            chosen = [self.random.choice(examples) for _ in range(self.random.randint(0, 5))]
        body = bytearray(self.spell(chosen).encode("utf-8", "surrogatepass"))
        while body and self.is_odd() and self.is_odd():
            body[self.random.randrange(len(body))] = self.random.randrange(256)
        if self.is_odd() and self.is_odd():
            body = body[: self.random.randrange(len(body) + 1)] + b" " * self.random.choice((0, 0, MAX_BODY_BYTES))
        return bytes(body)

    def entry(self):
        """Make the fields of an entry of the front door."""
        if self.random.random() < 0.4:
            return [b"data", self.message(TICKS)]
        names = [b"symbol", b"price", b"volume", b"timestamp"]
        values = [b"A", b"1.5", b"10", str(NOW_S).encode()]
        if self.is_odd():
            names, values = [*names, b"type"], [*values, self.random.choice((b"Q", b"AM", b"cancel", b"correct", b"T"))]
        if self.is_odd():
            names, values = (
                [*names, b"exchange", b"trade_id"],
                [*values, b"4", self.random.choice((b"71", b"\xff", b""))],
            )
        while self.is_odd():
            values[self.random.randrange(len(values))] = self.odd_bytes()
        while self.is_odd() and self.is_odd():
            names[self.random.randrange(len(names))] = self.odd_bytes()
        fields = [part for pair in zip(names, values, strict=True) for part in pair]
        return fields[: -1 if self.is_odd() and self.is_odd() else None]

    def odd_bytes(self):
        text = self.random.choice((*ODD_JSON, *TEXTS, *map(repr, FLOATS), *map(str, NUMBERS), "data", "price"))
        return self.random.choice((text.encode("utf-8", "surrogatepass"), b"\xff\xfe", b"x" * (MAX_BODY_BYTES + 1)))


def expect_ticks(ticks):
    """Hold what was read against what a batch must be, whatever was sent."""
    count = len(ticks)
    columns = (ticks.price, ticks.size, ticks.symbol_index, *ticks.optional.values())
    assert all(len(column) == count for column in columns)
    assert ((ticks.ts >= MIN_TS_NS) & (ticks.ts < MAX_TS_NS)).all()
    assert ((ticks.size >= 0) & (ticks.size < MAX_SIZE)).all()
    traded = ticks.size > 0
    for name in ("price", "open", "high", "low", "vwap"):
        column = ticks.price if name == "price" else ticks.optional.get(name)
        if column is not None:
            assert ((column > 0) & (column < MAX_PRICE))[traded].all(), name
    if "high" in ticks.optional:
        assert (ticks.optional["high"] >= ticks.optional["low"])[traded].all()
    assert all(0 < len(symbol) <= 20 and symbol.isprintable() for symbol in ticks.symbols)
    if count:
        assert int(ticks.symbol_index.min()) >= 0
        assert int(ticks.symbol_index.max()) < len(ticks.symbols)
    for row in ticks.refused:
        assert row.reason in REASONS
        assert row.detail.isprintable()
        assert row.detail.isascii()
        assert len(row.original) <= MAX_BODY_BYTES
    return ["value"] * bool(count) + sorted({row.reason for row in ticks.refused})


SEEDS = st.integers(0, 2**62)
SENDERS = SEEDS.map(Sender)


def test_messages_of_a_channel(tally):
    def check(bodies):
        tally.note(*expect_ticks(parse_bodies(bodies)))

    fuzz(tally, st.lists(SENDERS.map(lambda s: s.message(TICKS)), min_size=1, max_size=4), check, examples=800)


def test_entries_of_the_front_door(tally):
    def check(drawn):
        entries, first = drawn
        numbered = [(first + i, fields) for i, fields in enumerate(entries)]
        ticks = parse_entries(numbered)
        row_ids = ticks.optional["row_id"]
        assert (np.diff(row_ids) >= 0).all()
        assert all(first <= row.row_id < first + len(entries) for row in ticks.refused)
        alone = [parse_entries([entry]) for entry in numbered]
        assert len(ticks) == sum(map(len, alone))
        assert Counter(r.reason for r in ticks.refused) == Counter(r.reason for one in alone for r in one.refused)
        tally.note(*expect_ticks(ticks))

    few = st.lists(SENDERS.map(Sender.entry), min_size=1, max_size=4)
    many = SEEDS.map(lambda seed: [Sender(seed + i, odd=0.05).entry() for i in range(40)])
    fuzz(tally, st.tuples(st.one_of(few, many), st.integers(1, 2**62)), check, examples=300, round_size=100)


def test_messages_of_the_vendor(tally):
    vendors = [tick for tick in TICKS if "ev" in tick]

    def check(bodies):
        for rules in ("sip", "all"):
            parsed = parse_messages(bodies, rules)
            outcomes = expect_ticks(parsed.ticks)
        assert all(isinstance(status.status, str) for status in parsed.statuses)
        tally.note(*outcomes, *(["status"] if parsed.statuses else []))

    fuzz(tally, st.lists(SENDERS.map(lambda s: s.message(vendors)), min_size=1, max_size=4), check, examples=600)


def test_messages_that_a_watcher_hears(tally):
    by_channel = sorted(ACCEPTED)
    examples = {}
    for channel, body in example_messages():
        examples.setdefault(channel, []).append({"epoch": 1, "seq": 1, **msgspec.json.decode(body)})

    def check(drawn):
        channel, seed = drawn
        body = Sender(seed, odd=0.05).message(examples.get(channel, [{}]))
        heard = Received()
        heard.take(channel, body)
        shown = line(message_of(channel, body), datetime.now(UTC))
        assert shown.isprintable()
        tally.note(*(f"violation: {what.partition(':')[0]}"[:40] for what in heard.first.values()))

    fuzz(tally, st.tuples(st.sampled_from(by_channel), SEEDS), check, examples=600)


def test_values_of_a_universe(tally):
    def check(seed):
        sender = Sender(seed)
        value = sender.random.choice((["A", "B"], {"symbols": ["A"]}, {"stocks": [{"ticker": "A"}]}, "A,B"))
        text = sender.spell(value)
        try:
            symbols = (
                symbols_of_value(_decoded(text), "an entry") if sender.is_odd() else symbols_of_text(text, "a file")
            )
        except UsageError:
            tally.note("UsageError")
        else:
            assert all(symbol.isprintable() for symbol in symbols)
            tally.note("value")

    fuzz(tally, SEEDS, check, examples=500)


def _decoded(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
