import json
import random

import numpy as np
import pytest
from tickstockpl.contracts.frames.frame import Frame, decode, encode
from tickstockpl.contracts.spellings.tick_json import parse_bodies, parse_entries, parse_json
from tickstockpl.contracts.ticks import MAX_BODY_BYTES, REASONS

S = 1757600000  # 2025-09-11T14:13:20Z
NS = 1_000_000_000


def rows(ticks):
    """Return (symbol, ts, price, size) of each row."""
    symbols = [ticks.symbols[i] for i in ticks.symbol_index]
    return list(zip(symbols, ticks.ts.tolist(), ticks.price.tolist(), ticks.size.tolist(), strict=True))


def optional(ticks):
    return {name: column.tolist() for name, column in ticks.optional.items()}


def reasons(ticks):
    return [refused.reason for refused in ticks.refused]


def parsed(message, **options):
    return parse_json(json.dumps(message).encode(), **options)


def fields(**values):
    return [part for name, value in values.items() for part in (name.encode(), value)]


MARKET_TICK = {"type": "market_tick", "symbol": "AAPL", "price": 257.01, "volume": 150, "source": "massive"}
TICK_DATA = {"event_type": "tick_data", "ticker": "AAPL", "price": 185.5, "volume": 1000, "market_status": "REGULAR"}
NULLS = dict.fromkeys(
    ("tick_open", "tick_high", "tick_low", "tick_close", "tick_volume", "tick_vwap", "bid", "ask"), None
)
RAW_TRADE = {"ticker": "AAPL", "price": 150.25, "volume": 10, "event_type": "T", "source": "polygon", **NULLS}
RAW_SECOND = {
    "ticker": "AAPL",
    "price": 150.26,
    "volume": 1000,
    "timestamp": "2025-09-11T14:13:20Z",
    "event_type": "A",
    "source": "polygon",
    "tick_open": 150.2,
    "tick_high": 150.3,
    "tick_low": 150.15,
    "tick_close": 150.25,
    "tick_volume": 900,
    "tick_vwap": 150.22,
    "bid": 150.24,
    "ask": 150.26,
}
MASSIVE_TRADE = {"ev": "T", "sym": "MSFT", "x": 4, "i": "12345", "z": 3, "p": 114.125, "s": 100, "c": [0, 12]}
MASSIVE_SECOND = {
    "ev": "A",
    "sym": "SPCE",
    "v": 200,
    "av": 8642007,
    "op": 25.66,
    "vw": 25.3981,
    "o": 25.39,
    "c": 25.38,
    "h": 25.4,
    "l": 25.36,
    "a": 25.3714,
    "z": 50,
    "s": S * 1000,
    "e": S * 1000 + 1000,
}


# The application's channels


@pytest.mark.parametrize(
    ("stamp", "ts"),
    [
        (S * 1000 + 250, S * NS + 250_000_000),
        (S + 0.25, S * NS + 250_000_000),
        ("2025-09-11T14:13:20.25", S * NS + 250_000_000),
        (S * 1000, S * NS - 1),  # a whole second is the end of that second
        (float(S), S * NS - 1),
        ("2025-09-11T14:13:20Z", S * NS - 1),
    ],
)
@pytest.mark.parametrize(("message", "price", "size"), [(MARKET_TICK, 257.01, 150.0), (TICK_DATA, 185.5, 1000.0)])
def test_a_form_that_does_not_say_its_kind_ends_its_second(message, price, size, stamp, ts):
    ticks = parsed({**message, "timestamp": stamp})
    assert rows(ticks) == [("AAPL", ts, price, size)]
    assert optional(ticks) == {}


@pytest.mark.parametrize("message", [MARKET_TICK, TICK_DATA])
def test_second_stamp_start_leaves_a_whole_second_where_it_is(message):
    assert parsed({**message, "timestamp": S}, second_stamp="start").ts.tolist() == [S * NS]


@pytest.mark.parametrize("kind", ["T", "trade"])
@pytest.mark.parametrize("second_stamp", ["start", "end"])
def test_a_trade_is_never_shifted(kind, second_stamp):
    ticks = parsed({**RAW_TRADE, "event_type": kind, "timestamp": S}, second_stamp=second_stamp)
    assert rows(ticks) == [("AAPL", S * NS, 150.25, 10.0)]
    assert optional(ticks) == {}


@pytest.mark.parametrize("second_stamp", ["start", "end"])
def test_a_second_of_the_application_brings_all_its_prices_and_ends_at_its_stamp(second_stamp):
    ticks = parsed(RAW_SECOND, second_stamp=second_stamp)
    assert rows(ticks) == [("AAPL", S * NS - 1, 150.25, 900.0)]
    assert optional(ticks) == {"open": [150.2], "high": [150.3], "low": [150.15], "vwap": [150.22]}


def test_nulls_of_a_second_fall_back_to_price_and_volume():
    ticks = parsed({**RAW_SECOND, **NULLS})
    assert rows(ticks) == [("AAPL", S * NS - 1, 150.26, 1000.0)]
    assert optional(ticks) == {"open": [150.26], "high": [150.26], "low": [150.26]}


def test_high_and_low_are_widened_to_hold_open_and_close():
    ticks = parsed({**RAW_SECOND, "tick_open": 150.1, "tick_high": 150.2, "tick_low": 150.19})
    assert optional(ticks) == {"open": [150.1], "high": [150.25], "low": [150.1], "vwap": [150.22]}


def test_a_high_below_the_low_refuses_a_second_and_a_vwap_outside_is_brought_to_the_nearer_bound():
    assert reasons(parsed({**RAW_SECOND, "tick_high": 150.1, "tick_low": 150.2})) == ["price"]
    assert optional(parsed({**RAW_SECOND, "tick_vwap": 151.0}))["vwap"] == [150.3]
    assert optional(parsed({**RAW_SECOND, "tick_vwap": 0.5}))["vwap"] == [150.15]


@pytest.mark.parametrize("name", ["tick_open", "tick_high", "tick_low", "tick_close", "tick_vwap"])
@pytest.mark.parametrize("value", [0, -1, 1e308, "x", True])
def test_a_bad_price_anywhere_in_a_second_refuses_it(name, value):
    assert reasons(parsed({**RAW_SECOND, name: value})) == ["price"]


def test_a_second_inside_a_second_is_not_shifted():
    assert parsed({**RAW_SECOND, "timestamp": S + 0.5}).ts.tolist() == [S * NS + 500_000_000]


def test_a_quote_is_a_row_without_price_and_size():
    ticks = parsed({**RAW_TRADE, "event_type": "Q", "price": None, "volume": None, "timestamp": S})
    assert rows(ticks) == [("AAPL", S * NS, 0.0, 0.0)]


@pytest.mark.parametrize(
    "message",
    [
        {"test": "permission_check"},
        {"test": "health_check", "timestamp": S},
        {"ev": "status", "status": "connected", "message": "Connected Successfully"},
        [],
        [{"ev": "status", "status": "auth_success"}],
    ],
)
def test_probes_and_status_say_nothing(message):
    ticks = parsed(message)
    assert (len(ticks), list(ticks.refused)) == (0, [])


# Massive


@pytest.mark.parametrize(("stamp", "ts"), [(S * 1000, S * NS), (S * NS + 7, S * NS + 7)])
def test_a_massive_trade_keeps_its_time(stamp, ts):
    assert rows(parsed([{**MASSIVE_TRADE, "t": stamp}])) == [("MSFT", ts, 114.125, 100.0)]


def test_decimal_sizes_win_over_whole_ones():
    ticks = parsed([{**MASSIVE_TRADE, "t": S, "ds": "100.5"}, {**MASSIVE_SECOND, "dv": "9099.618093"}])
    assert ticks.size.tolist() == [100.5, 9099.618093]


def test_a_null_decimal_size_leaves_the_whole_one():
    assert parsed({**MASSIVE_TRADE, "t": S, "ds": None}).size.tolist() == [100.0]


def test_a_massive_second_starts_at_s_and_brings_all_its_prices():
    ticks = parsed([MASSIVE_SECOND])
    assert rows(ticks) == [("SPCE", S * NS, 25.38, 200.0)]
    assert optional(ticks) == {"open": [25.39], "high": [25.4], "low": [25.36], "vwap": [25.3981]}


def test_a_massive_minute_is_marked_as_whole():
    ticks = parsed([{**MASSIVE_SECOND, "ev": "AM", "s": S * 1000 - 20_000}])
    assert rows(ticks) == [("SPCE", (S - 20) * NS, 25.38, 200.0)]
    assert optional(ticks)["whole_minute"] == [1]


def test_an_array_mixes_kinds_and_keeps_their_order():
    quote = {"ev": "Q", "sym": "MSFT", "bp": 114.12, "ap": 114.13, "t": S * 1000 + 1}
    message = [{"ev": "status"}, {**MASSIVE_TRADE, "t": S * 1000}, quote, MASSIVE_SECOND]
    ticks = parsed(message)
    assert rows(ticks) == [
        ("MSFT", S * NS, 114.125, 100.0),
        ("MSFT", S * NS + 1_000_000, 0.0, 0.0),
        ("SPCE", S * NS, 25.38, 200.0),
    ]
    assert optional(ticks) == {
        "open": [114.125, 0.0, 25.39],
        "high": [114.125, 0.0, 25.4],
        "low": [114.125, 0.0, 25.36],
        "vwap": [114.125, 0.0, 25.3981],
        "trade_key": [12345 * 256 + 4, 0, 0],
        "flags": [4, 7, 7],
        "note": [1, 0, 0],
    }
    assert ticks.notes == ('{"conditions": [0, 12]}',)


@pytest.mark.parametrize("message", [{"ev": "Q", "t": S}, {"event_type": "Q", "timestamp": S}])
def test_a_quote_without_a_symbol_is_refused(message):
    assert reasons(parsed(message)) == ["symbol"]


# Objects that say no kind


@pytest.mark.parametrize(
    "message",
    [
        {"symbol": "BRK.B", "price": 1.5, "volume": 2, "timestamp": S},
        {"ticker": "BRK.B", "price": "1.5", "size": "2", "timestamp": str(S)},
        {"ticker": " BRK.B\t", "price": 1.5, "volume": 2.0, "size": 9, "timestamp": S * 1000, "type": None},
    ],
)
def test_an_object_without_a_kind_is_a_trade_at_its_stamp(message):
    assert rows(parsed(message)) == [("BRK.B", S * NS, 1.5, 2.0)]


def test_the_case_of_a_symbol_is_kept():
    assert parsed({**MARKET_TICK, "symbol": "BRKb", "timestamp": S}).symbols == ["BRKb"]


@pytest.mark.parametrize("price", [None, -1, 0, "x", True, [], 1e308])
def test_a_tick_of_size_zero_stays_whatever_its_price(price):
    message = {**MARKET_TICK, "volume": 0, "price": price, "timestamp": S + 0.5}
    assert rows(parsed(message)) == [("AAPL", S * NS + 500_000_000, 0.0, 0.0)]


# Refusals

BASE = {**MARKET_TICK, "timestamp": S + 0.5}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": None}, "symbol"),
        ({"symbol": ""}, "symbol"),
        ({"symbol": "   "}, "symbol"),
        ({"symbol": 123}, "symbol"),
        ({"symbol": ["AAPL"]}, "symbol"),
        ({"symbol": "A" * 21}, "symbol"),
        ({"symbol": "A\x00B"}, "symbol"),
        ({"symbol": "A\nB"}, "symbol"),
        ({"symbol": "A\x7f"}, "symbol"),
        ({"symbol": "A\u0085"}, "symbol"),
        ({"symbol": "A\u200b"}, "symbol"),
        ({"symbol": "A\ud800"}, "symbol"),
        ({"price": None}, "price"),
        ({"price": 0}, "price"),
        ({"price": -0.01}, "price"),
        ({"price": True}, "price"),
        ({"price": "abc"}, "price"),
        ({"price": "nan"}, "price"),
        ({"price": "Infinity"}, "price"),
        ({"price": "1_000"}, "price"),
        ({"price": ""}, "price"),
        ({"price": 1e308}, "price"),
        ({"price": 1e12}, "price"),
        ({"price": 10**400}, "price"),
        ({"price": {"value": 1}}, "price"),
        ({"price": [1]}, "price"),
        ({"volume": None}, "size"),
        ({"volume": -1}, "size"),
        ({"volume": False}, "size"),
        ({"volume": "many"}, "size"),
        ({"volume": 1e14}, "size"),
        ({"volume": [[1]]}, "size"),
        ({"timestamp": None}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
        ({"timestamp": 0}, "timestamp"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"timestamp": 5e9}, "timestamp"),
        ({"type": "pattern_detected"}, "unknown_shape"),
        ({"type": 7}, "unknown_shape"),
        ({"type": []}, "unknown_shape"),
        ({"event_type": "AM"}, "unknown_shape"),
        ({"ev": "LULD"}, "unknown_shape"),
        ({"ev": None}, "unknown_shape"),
    ],
)
def test_a_bad_value_refuses_with_the_reason_of_its_field(change, reason):
    ticks = parsed({**BASE, **change})
    assert (len(ticks), reasons(ticks)) == (0, [reason])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"AAPL 150.25", "not_json"),
        (b'{"symbol":"AAPL"', "not_json"),
        (b'{"symbol":"AAPL","price":NaN,"volume":1,"timestamp":1757600000}', "not_json"),
        (b'{"symbol":"AAPL","price":Infinity,"volume":1,"timestamp":1757600000}', "not_json"),
        (b'{"symbol":"AAPL","price":-Infinity,"volume":1,"timestamp":1757600000}', "not_json"),
        (b'{"symbol":"AAPL","price":1e400,"volume":1,"timestamp":1757600000}', "price"),
        (b'{"symbol":"A\xff","price":1,"volume":1,"timestamp":1757600000}', "symbol"),
        (b'{"symbol":"\\udc00A","price":1,"volume":1,"timestamp":1757600000}', "symbol"),
        (b"\xff\xfe\x00", "not_json"),
        (b"[" * 30_000, "not_json"),
        (b"[" * 30_000 + b"]" * 30_000, "not_json"),
        (b"1" * 10_000, "not_json"),
        (b"5", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"AAPL"', "not_an_object"),
        (b"true", "not_an_object"),
        (b"{}", "unknown_shape"),
        (b'{"hello":"world"}', "unknown_shape"),
        (b'{"ev":"T"}', "symbol"),
        (b'{"price":1}', "symbol"),
        (b'{"symbol":"AAPL"}', "size"),
    ],
)
def test_a_bad_body_is_refused_whole(body, reason):
    ticks = parse_json(body, row_id=7)
    assert [(r.reason, r.original, r.row_id) for r in ticks.refused] == [(reason, body, 7)]
    assert len(ticks) == 0


def test_a_body_of_64_kib_is_read_and_a_longer_one_refused_with_its_beginning():
    body = json.dumps({**BASE, "source": ""}).encode()
    filler = MAX_BODY_BYTES - len(body)
    fits = body.replace(b'"source": ""', b'"source": "' + b"x" * filler + b'"')
    assert len(parse_json(fits)) == 1
    ticks = parse_json(fits + b" ")
    assert [(r.reason, r.original) for r in ticks.refused] == [("too_large", fits)]


def test_bytes_that_are_no_text_harm_nothing_where_nobody_reads_them():
    assert len(parse_json(json.dumps(BASE).encode().replace(b"massive", b"\xff"))) == 1


def test_a_bad_element_is_refused_alone():
    ticks = parsed([BASE, {**BASE, "price": -1}, {**BASE, "symbol": "MSFT"}, 5])
    assert [symbol for symbol, *_ in rows(ticks)] == ["AAPL", "MSFT"]
    assert reasons(ticks) == ["price", "not_an_object"]
    assert json.loads(ticks.refused[0].original) == {**BASE, "price": -1}
    assert ticks.refused[0].detail == "element 2 of 4: price is not above 0 and below 1e+12: -1"


def test_a_refusal_of_a_lone_surrogate_fits_into_a_frame():
    refused = parsed([{**BASE, "symbol": "A\ud800\x00"}]).refused
    frame = Frame(1, "p", "live", "live", 0, 1, 0, 0, False, 0, [], [], "none", b"", list(refused))
    assert decode(encode(frame)).refused[0].reason == "symbol"


def test_bodies_become_one_batch_in_order():
    bodies = [json.dumps({**BASE, "symbol": name}).encode() for name in ("B", "A", "B")]
    ticks = parse_bodies([*bodies, b"nonsense"])
    assert [symbol for symbol, *_ in rows(ticks)] == ["B", "A", "B"]
    assert reasons(ticks) == ["not_json"]


# Entries of the front door


@pytest.mark.parametrize(
    "entry",
    [
        fields(symbol=b"AAPL", price=b"150.25", volume=b"10", timestamp=b"1757600000"),
        fields(ticker=b"AAPL", price=b"150.25", size=b"10", timestamp=b"1757600000.0"),
        fields(symbol=b" AAPL ", price=b" 150.25", volume=b"1e1", timestamp=b"1757600000000", type=b"trade"),
        fields(timestamp=b"2025-09-11T14:13:20Z", source=b"\xff", symbol=b"AAPL", price=b"+150.25", volume=b"10."),
        fields(symbol=b"AAPL", price=b"150.25", volume=b"10", timestamp=b"1757600000", type=b"market_tick"),
        fields(data=b'{"symbol":"AAPL","price":150.25,"volume":10,"timestamp":1757600000}'),
        fields(source=b"x", data=b'[{"ev":"T","sym":"AAPL","p":150.25,"s":10,"t":1757600000000}]'),
    ],
)
@pytest.mark.parametrize("copies", [1, 40])
def test_every_form_of_an_entry_says_the_same(entry, copies):
    ticks = parse_entries([(1000 + i, entry) for i in range(copies)])
    assert rows(ticks) == [("AAPL", S * NS, 150.25, 10.0)] * copies
    assert optional(ticks) == {"row_id": list(range(1000, 1000 + copies))}
    assert list(ticks.refused) == []


def test_no_entries_are_no_ticks_with_a_row_id_column():
    ticks = parse_entries([])
    assert (len(ticks), optional(ticks)) == (0, {"row_id": []})


GOOD = {"symbol": b"AAPL", "price": b"150.25", "volume": b"10", "timestamp": b"1757600000"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": b""}, "symbol"),
        ({"symbol": b"A" * 21}, "symbol"),
        ({"symbol": b"A\x00"}, "symbol"),
        ({"symbol": b"\xff"}, "symbol"),
        ({"symbol": b"\xed\xa0\x80"}, "symbol"),
        ({"price": b""}, "price"),
        ({"price": b"0"}, "price"),
        ({"price": b"-1"}, "price"),
        ({"price": b"nan"}, "price"),
        ({"price": b"Infinity"}, "price"),
        ({"price": b"1e308"}, "price"),
        ({"price": b"1_0"}, "price"),
        ({"price": b"12\x00"}, "price"),
        ({"price": b"1.2.3"}, "price"),
        ({"price": b"True"}, "price"),
        ({"volume": b"-1"}, "size"),
        ({"volume": b"null"}, "size"),
        ({"volume": b"1e14"}, "size"),
        ({"timestamp": b"yesterday"}, "timestamp"),
        ({"timestamp": b"12"}, "timestamp"),
        ({"timestamp": b"1" * 25}, "timestamp"),
        ({"note": b"x" * MAX_BODY_BYTES}, "too_large"),
        ({"type": b"AM"}, "unknown_shape"),
    ],
)
@pytest.mark.parametrize("copies", [0, 40])
def test_a_bad_plain_entry_is_refused_alone(change, reason, copies):
    good = fields(**{**dict.fromkeys(change, b""), **GOOD})
    bad = fields(**{**dict.fromkeys(change, b""), **GOOD, **change})
    entries = [(i, good) for i in range(copies)] + [(99, bad)] + [(100 + i, good) for i in range(copies)]
    ticks = parse_entries(entries)
    assert [(r.reason, r.row_id) for r in ticks.refused] == [(reason, 99)]
    assert ticks.refused[0].original == b" ".join(bad)[:MAX_BODY_BYTES]
    assert ticks.optional["row_id"].tolist() == [*range(copies), *range(100, 100 + copies)]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (fields(symbol=b"AAPL", volume=b"1", timestamp=b"1757600000"), "price"),
        (fields(symbol=b"AAPL", price=b"1", timestamp=b"1757600000"), "size"),
        (fields(symbol=b"AAPL", price=b"1", volume=b"1"), "timestamp"),
        (fields(price=b"1", volume=b"1", timestamp=b"1757600000"), "symbol"),
        (fields(hello=b"world"), "unknown_shape"),
        ([*fields(**GOOD), b"type"], "unknown_shape"),
        ([b"data"], "unknown_shape"),
        ([], "unknown_shape"),
        (fields(data=b"no json"), "not_json"),
        (fields(data=b"x" * (MAX_BODY_BYTES + 1)), "too_large"),
    ],
)
@pytest.mark.parametrize("copies", [1, 40])
def test_an_entry_that_lacks_something_is_refused(entry, reason, copies):
    assert reasons(parse_entries([(1, entry)] * copies)) == [reason] * copies


@pytest.mark.parametrize("copies", [1, 40])
def test_a_plain_quote_and_a_tick_of_size_zero_touch_nothing(copies):
    quote = fields(**GOOD, type=b"Q")
    empty = fields(**{**GOOD, "price": b"none", "volume": b"0"}, type=b"trade")
    ticks = parse_entries([(1, quote), (2, empty)] * copies)
    assert rows(ticks) == [("AAPL", S * NS, 0.0, 0.0)] * 2 * copies


def test_rows_of_all_forms_keep_the_order_of_their_entries():
    message = [{"ev": "A", "sym": "C", "c": 3, "v": 1, "s": S}, {"ev": "T", "sym": "D", "p": 4, "s": 1, "t": S}]
    data = (fields(data=json.dumps(message).encode()), ["C", "D"])
    entries, names, row_ids = [], [], []
    for i in range(60):
        plain = fields(**{**GOOD, "symbol": b"P%d" % i})
        reordered = fields(price=b"1", symbol=b"R%d" % i, volume=b"1", timestamp=b"1757600000")
        for entry, symbols in ((plain, [f"P{i}"]), data, (reordered, [f"R{i}"]), (fields(data=b"?"), [])):
            row_ids += [len(entries)] * len(symbols)
            entries.append((len(entries), entry))
            names += symbols
    ticks = parse_entries(entries)
    assert [symbol for symbol, *_ in rows(ticks)] == names
    assert ticks.optional["row_id"].tolist() == row_ids
    assert [r.row_id for r in ticks.refused] == list(range(3, 240, 4))
    assert set(ticks.optional) == {"open", "high", "low", "row_id"}
    np.testing.assert_array_equal(ticks.optional["high"], ticks.price)


def test_a_batch_says_the_same_as_its_entries_one_by_one():
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201  # pytest shows it where the test fails
    dice = random.Random(seed)
    pools = {
        "symbol": [b"AAPL", b"BRK.B", b" MSFT ", b"", b"\xff", b"A" * 21, "é".encode()],
        "price": [b"1.5", b"150", b"1e2", b"0", b"-1", b"nan", b"1e400", b" 2 ", b"x", b"0.1", b"+.5"],
        "volume": [b"1", b"0", b"1.5", b"-0", b"-1", b"inf", b"", b"1e15"],
        "timestamp": [b"1757600000", b"1757600000.1234567", b"1757600000123", b"2025-09-11T14:13:20Z", b"0", b"soon"],
        "type": [b"trade", b"Q", b"", b"AM"],
    }
    for _ in range(20):
        # Of most fields the first values, so that many rows are good.
        entries = [
            (i, fields(**{name: dice.choice(pool[: dice.choice((1, 2, 99))]) for name, pool in pools.items()}))
            for i in range(100)
        ]
        whole = parse_entries(entries)
        single = [parse_entries([entry]) for entry in entries]
        assert rows(whole) == [row for ticks in single for row in rows(ticks)]
        assert list(whole.refused) == [refused for ticks in single for refused in ticks.refused]
        assert {refused.reason for refused in whole.refused} <= set(REASONS)
