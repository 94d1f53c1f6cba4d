import json
import random

import numpy as np
import pytest
from tickstockpl.contracts.spellings.massive_json import parse_messages
from tickstockpl.contracts.spellings.tick_json import parse_json
from tickstockpl.contracts.ticks import MAX_BODY_BYTES, SETS_ALL, SETS_VOLUME

MS = 1_757_601_000_250  # 2025-09-11T14:30:00.25Z: 10:30 in New York
NS = 1_757_601_000_250_000_000
EIGHT_IN_NEW_YORK = 1_757_592_000_000  # pre-market

TRADE = {"ev": "T", "sym": "MSFT", "x": 4, "i": "12345", "z": 3, "p": 114.125, "s": 100, "t": MS, "q": 3681328}
SECOND = {
    "ev": "A", "sym": "AAPL", "v": 200, "av": 8642007, "op": 25.66, "vw": 25.3981, "o": 25.39, "c": 25.35, "h": 25.41,
    "l": 25.3, "a": 25.3714, "z": 50, "s": MS, "e": MS + 1000,
}  # fmt: skip
MINUTE = SECOND | {"ev": "AM"}
CONNECTED = {"ev": "status", "status": "connected", "message": "Connected Successfully"}


def parsed(*events, rules="sip"):
    return parse_messages([json.dumps(events).encode()], rules)


def rows(ticks):
    symbols = [ticks.symbols[i] for i in ticks.symbol_index]
    return list(zip(symbols, ticks.ts.tolist(), ticks.price.tolist(), ticks.size.tolist(), strict=True))


def optional(ticks):
    return {name: column.tolist() for name, column in ticks.optional.items()}


def reasons(ticks):
    return [refused.reason for refused in ticks.refused]


def test_a_trade_is_a_tick_at_its_own_time_with_its_key():
    ticks = parsed(TRADE).ticks

    assert rows(ticks) == [("MSFT", NS, 114.125, 100.0)]
    assert optional(ticks) == {"trade_key": [12345 * 256 + 4]}


def test_decimal_text_wins_over_the_whole_number_of_shares():
    ticks = parsed(TRADE | {"ds": "100.25"}, SECOND | {"dv": "0.5"}).ticks

    assert ticks.size.tolist() == [100.25, 0.5]


def test_an_odd_lot_sets_the_volume_alone_by_its_condition_not_by_its_size():
    ticks = parsed(TRADE | {"s": 100, "c": [14, 37]}, TRADE | {"s": 3, "c": [14]}).ticks

    assert optional(ticks)["flags"] == [SETS_VOLUME, SETS_ALL]


def test_a_form_t_trade_sets_prices_before_the_market_opens_and_not_behind():
    ticks = parsed(TRADE | {"c": [12], "t": EIGHT_IN_NEW_YORK}, TRADE | {"c": [12]}).ticks

    assert optional(ticks)["flags"] == [SETS_ALL, SETS_VOLUME]


def test_without_rules_no_trade_has_flags():
    ticks = parsed(TRADE | {"c": [37]}, TRADE | {"c": "odd"}, rules="all").ticks

    assert "flags" not in ticks.optional or set(optional(ticks)["flags"]) == {SETS_ALL}


def test_trades_that_set_everything_need_no_flags():
    assert "flags" not in parsed(TRADE, TRADE | {"c": [14, 41]}).ticks.optional


def test_an_unknown_condition_is_told_and_sets_the_volume_alone():
    found = parsed(TRADE | {"c": [14, 999]}, TRADE | {"c": [998]}, TRADE)

    assert found.unknown == {998, 999}
    assert optional(found.ticks)["flags"] == [SETS_VOLUME, SETS_VOLUME, SETS_ALL]


def test_a_second_is_stamped_with_its_start_and_carries_its_prices():
    ticks = parsed(SECOND).ticks

    assert rows(ticks) == [("AAPL", NS, 25.35, 200.0)]
    assert optional(ticks) == {"open": [25.39], "high": [25.41], "low": [25.3], "vwap": [25.3981]}


def test_a_minute_is_a_whole_minute_from_its_start():
    ticks = parsed(MINUTE).ticks

    assert rows(ticks) == [("AAPL", NS, 25.35, 200.0)]
    assert optional(ticks) == {
        "open": [25.39], "high": [25.41], "low": [25.3], "vwap": [25.3981], "whole_minute": [1],
    }  # fmt: skip


def test_a_high_below_the_close_is_widened_and_a_missing_price_is_the_close():
    ticks = parsed({"ev": "A", "sym": "AAPL", "v": 10, "c": 25.5, "h": 25.0, "s": MS}).ticks

    assert optional(ticks) == {"open": [25.5], "high": [25.5], "low": [25.5], "vwap": [25.5]}


@pytest.mark.parametrize("kind", [SECOND, MINUTE])
def test_a_high_below_the_low_is_refused_and_a_vwap_outside_is_brought_to_the_nearer_bound(kind):
    events = ({**kind, "h": 25.2, "l": 25.3}, {**kind, "vw": 26.0}, {**kind, "vw": 0.01}, {**kind, "dv": "4e-7"})
    ticks = parsed(*events).ticks

    assert [refused.reason for refused in ticks.refused] == ["price", "size"]
    assert ticks.optional["vwap"].tolist() == [25.41, 25.3]


def test_a_second_without_volume_touches_no_bar_whatever_its_prices():
    ticks = parsed({"ev": "A", "sym": "AAPL", "v": 0, "c": 0, "o": 0, "h": -1, "s": MS}).ticks

    assert rows(ticks) == [("AAPL", NS, 0.0, 0.0)]


def test_a_quote_counts_and_touches_no_bar():
    assert rows(parsed({"ev": "Q", "sym": "MSFT", "bp": 114.0, "ap": 115.0, "t": MS}).ticks) == [("MSFT", NS, 0.0, 0.0)]


def test_event_types_are_mixed_and_keep_their_order():
    found = parsed(TRADE, CONNECTED, SECOND, TRADE | {"sym": "BRK.B"}, MINUTE)

    assert [row[0] for row in rows(found.ticks)] == ["MSFT", "AAPL", "BRK.B", "AAPL"]
    assert optional(found.ticks)["whole_minute"] == [0, 0, 0, 1]
    assert optional(found.ticks)["trade_key"] == [12345 * 256 + 4, 0, 12345 * 256 + 4, 0]
    assert [(status.status, status.message) for status in found.statuses] == [("connected", "Connected Successfully")]


def test_messages_make_one_batch_in_their_order():
    bodies = [json.dumps([TRADE | {"p": float(price)}]).encode() for price in (1, 2, 3)]

    assert parse_messages(bodies).ticks.price.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"p": -1.0}, "price"),
        ({"p": None}, "price"),
        ({"p": 0}, "price"),
        ({"p": 1e12}, "price"),
        ({"s": -1}, "size"),
        ({"s": None}, "size"),
        ({"ds": "many"}, "size"),
        ({"ds": "nan"}, "size"),
        ({"ds": "1_000"}, "size"),
        ({"sym": ""}, "symbol"),
        ({"sym": None}, "symbol"),
        ({"sym": "A SYMBOL LONGER THAN 20"}, "symbol"),
        ({"t": 0}, "timestamp"),
        ({"t": 10**30}, "timestamp"),
        ({"t": "yesterday"}, "timestamp"),
        ({"ev": "LULD"}, "unknown_shape"),
        ({"ev": 7}, "unknown_shape"),
    ],
)
def test_a_bad_trade_is_refused_with_its_reason_and_its_neighbours_stay(change, reason):
    bad = TRADE | change
    ticks = parsed(TRADE | {"c": [37]}, bad, TRADE | {"p": 2.0}).ticks

    assert reasons(ticks) == [reason]
    assert json.loads(ticks.refused[0].original) == bad
    assert ticks.price.tolist() == [114.125, 2.0]
    assert optional(ticks)["flags"] == [SETS_VOLUME, SETS_ALL]


def test_a_bad_second_is_refused_with_its_reason():
    assert reasons(parsed(SECOND | {"h": -1.0}, SECOND | {"o": 1e13}, SECOND).ticks) == ["price", "price"]


def test_a_trade_in_odd_types_is_still_a_trade_with_its_rules_and_key():
    odd = {"ev": "T", "sym": "MSFT", "x": "4", "i": 12345, "p": "114.5", "s": "7", "t": MS / 1000, "c": [37]}
    ticks = parsed(odd, TRADE).ticks

    assert rows(ticks) == [("MSFT", NS, 114.5, 7.0), ("MSFT", NS, 114.125, 100.0)]
    told = optional(ticks)
    assert (told["flags"], told["trade_key"]) == ([SETS_VOLUME, SETS_ALL], [12345 * 256 + 4] * 2)


def test_conditions_that_cannot_be_read_let_a_trade_set_its_volume_alone():
    assert optional(parsed(TRADE | {"c": "37"}).ticks)["flags"] == [SETS_VOLUME]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not JSON", "not_json"),
        (b"", "not_json"),
        (b"[1, 2", "not_json"),
        (b"7", "not_an_object"),
        (b"[[{}]]", "not_an_object"),
        (b"[" * 30_000 + b"]" * 30_000, "not_json"),
        (b'[{"ev":"T","sym":"MSFT","x":' + b"9" * MAX_BODY_BYTES + b"}]", "too_large"),
    ],
)
def test_what_is_no_array_of_events_is_refused_once(body, reason):
    ticks = parse_messages([body, json.dumps([TRADE]).encode()]).ticks

    assert reasons(ticks) == [reason]
    assert len(ticks) == 1


def test_a_broken_text_spoils_its_own_event_alone():
    body = rb'[{"ev":"T","sym":"\ud800","p":1.0,"s":1,"t":1757601000250},' + json.dumps(TRADE).encode() + b"]"
    ticks = parse_messages([body]).ticks

    assert reasons(ticks) == ["symbol"]
    assert rows(ticks) == [("MSFT", NS, 114.125, 100.0)]


def test_an_array_beyond_the_bound_of_one_tick_is_read():
    body = json.dumps([TRADE] * 2000).encode()
    assert len(body) > 3 * MAX_BODY_BYTES

    assert len(parse_messages([body]).ticks) == 2000


def test_no_messages_give_no_ticks():
    found = parse_messages([])

    assert (len(found.ticks), found.statuses, found.unknown) == (0, [], set())


@pytest.mark.parametrize("seed", range(5))
def test_the_columns_say_what_the_slow_way_says_of_random_events(seed):
    rng = random.Random(seed)
    events = [random_event(rng) for _ in range(500)]

    ticks = parsed(*events).ticks
    alone = [parse_json(json.dumps([event]).encode(), rules="sip") for event in events]

    assert rows(ticks) == [row for one in alone for row in rows(one)]
    assert [r.reason for r in ticks.refused] == [r.reason for one in alone for r in one.refused]
    for name, defaults in (("flags", SETS_ALL), ("trade_key", 0), ("whole_minute", 0)):
        told = [one.optional.get(name, np.full(len(one), defaults)) for one in alone]
        assert ticks.optional[name].tolist() == np.concatenate(told).tolist()
    for name in ("open", "high", "low", "vwap"):
        told = [one.optional.get(name, one.price) for one in alone]
        assert ticks.optional[name].tolist() == np.concatenate(told).tolist()


def random_event(rng):
    event = dict(rng.choice([TRADE, TRADE, SECOND, MINUTE, {"ev": "Q", "sym": "MSFT", "t": MS}]))
    if rng.random() < 0.5:
        event["c"] = [rng.choice([0, 12, 14, 37, 999])] if event["ev"] == "T" else rng.uniform(20, 30)
    for name in rng.sample(sorted(event), 2):
        if name != "ev" and rng.random() < 0.3:
            event[name] = rng.choice([None, -1, 0, 0.5, "7", "x", [], {}, 1e13, 10**20, True, "AAPL"])
    return event
