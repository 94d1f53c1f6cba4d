"""Cancels and corrections at the front door, and the ids by which they name their trade."""

import json
from typing import Any

import numpy as np
import pytest
from tickstockpl.contracts.spellings.tick_json import parse_bodies, parse_entries, parse_json
from tickstockpl.contracts.ticks import Ticks

MS = 1_757_600_000_123
TS = 1_757_600_000_123_000_000
ROW_ID = (MS << 20) + 5  # the entry MS-5
TRADE = {"symbol": "AAPL", "price": "150.25", "volume": "10", "timestamp": str(MS)}
NAMED = {"exchange": "4", "trade_id": "7"}
CANCEL = {"type": "cancel", "symbol": "AAPL", **NAMED}
CORRECT = {"type": "correct", "symbol": "AAPL", **NAMED, "price": "150.5", "volume": "20"}
KEY = 7 * 256 + 4


def fields(message: dict[str, str]) -> list[bytes]:
    return [part.encode() for field in message.items() for part in field]


def plain(message: dict[str, str], copies: int = 1) -> Ticks:
    """Read some copies of an entry; 16 and more are read as columns."""
    return parse_entries([(ROW_ID, fields(message))] * copies)


def spelled(message: dict[str, str], **numbers: Any) -> Ticks:
    """Read an entry with JSON in the field `data`."""
    return parse_entries([(ROW_ID, [b"data", json.dumps({**message, **numbers}).encode()])])


def first(ticks: Ticks) -> dict[str, Any]:
    assert [refused.detail for refused in ticks.refused] == []
    row = {"symbol": ticks.symbols[ticks.symbol_index[0]], "ts": int(ticks.ts[0])}
    row |= {"price": float(ticks.price[0]), "size": float(ticks.size[0])}
    return row | {name: column[0].item() for name, column in ticks.optional.items() if name != "row_id"}


@pytest.mark.parametrize("copies", [1, 20])
def test_a_trade_may_name_itself(copies: int) -> None:
    ticks = plain({**TRADE, **NAMED}, copies)
    assert ticks.optional["trade_key"].tolist() == [KEY] * copies
    assert ticks.optional["trade_key"].dtype == np.dtype("<i8")


@pytest.mark.parametrize("copies", [1, 20])
def test_a_trade_without_an_id_has_no_key_column(copies: int) -> None:
    assert set(plain(TRADE, copies).optional) == {"row_id"}
    assert set(plain({**TRADE, "exchange": "4", "trade_id": ""}, copies).optional) == {"row_id"}


@pytest.mark.parametrize("copies", [1, 20])
def test_an_id_without_an_exchange_is_of_exchange_zero(copies: int) -> None:
    assert plain({**TRADE, "trade_id": "7"}, copies).optional["trade_key"][0] == 7 * 256


@pytest.mark.parametrize("trade_id", ["7", " 007 ", "A-1", "\u00e9", "9" * 40])
@pytest.mark.parametrize("exchange", ["4", "XNAS", "", "300"])
def test_a_batch_gives_the_keys_that_its_entries_have_one_by_one(exchange: str, trade_id: str) -> None:
    named = {**TRADE, "exchange": exchange, "trade_id": trade_id}
    alone = plain(named).optional["trade_key"][0]
    assert (plain(named, 20).optional["trade_key"] == alone).all()
    assert spelled(named).optional["trade_key"][0] == alone
    cancel = {**CANCEL, "exchange": exchange, "trade_id": trade_id}
    assert plain(cancel).optional["trade_key"][0] == alone


@pytest.mark.parametrize(
    "ticks", [plain(CANCEL), plain(CANCEL, 20), spelled(CANCEL), spelled(CANCEL, exchange=4, trade_id=7)]
)
def test_a_cancel_names_its_trade_and_has_its_entrys_time(ticks: Ticks) -> None:
    row = {"symbol": "AAPL", "ts": TS, "price": 0.0, "size": 0.0, "trade_key": KEY, "undoes": 1}
    assert first(ticks) == row


@pytest.mark.parametrize("ticks", [plain(CORRECT), plain(CORRECT, 20), spelled(CORRECT), spelled(CORRECT, price=150.5)])
def test_a_correction_brings_the_price_and_size_in_its_place(ticks: Ticks) -> None:
    row = {"symbol": "AAPL", "ts": TS, "price": 150.5, "size": 20.0, "trade_key": KEY, "undoes": 2}
    assert first(ticks) == row


@pytest.mark.parametrize("message", [CANCEL, CORRECT])
def test_a_timestamp_wins_over_the_entrys_time(message: dict[str, str]) -> None:
    assert first(plain({**message, "timestamp": "1757600001"}))["ts"] == 1_757_600_001_000_000_000
    assert first(spelled(message, timestamp=1757600001))["ts"] == 1_757_600_001_000_000_000


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({**CANCEL, "trade_id": ""}, "unknown_shape"),
        ({"type": "cancel", "symbol": "AAPL"}, "unknown_shape"),
        ({**CANCEL, "symbol": " "}, "symbol"),
        ({**CANCEL, "timestamp": "yesterday"}, "timestamp"),
        ({**CORRECT, "price": "0"}, "price"),
        ({**CORRECT, "volume": "-1"}, "size"),
        ({name: value for name, value in CORRECT.items() if name != "price"}, "price"),
        ({name: value for name, value in CORRECT.items() if name != "volume"}, "size"),
    ],
)
@pytest.mark.parametrize("copies", [1, 20])
def test_a_bad_undo_is_refused_with_its_reason(message: dict[str, str], reason: str, copies: int) -> None:
    ticks = plain(message, copies)
    assert [(r.reason, r.row_id) for r in ticks.refused] == [(reason, ROW_ID)] * copies
    assert [r.reason for r in spelled(message).refused] == [reason]
    assert (len(ticks), len(spelled(message))) == (0, 0)


@pytest.mark.parametrize("trade_id", [1.5, True, [7], {"i": 7}])
def test_what_is_neither_text_nor_a_whole_number_is_no_id(trade_id: object) -> None:
    assert [r.reason for r in spelled(CANCEL, trade_id=trade_id).refused] == ["unknown_shape"]
    assert "trade_key" not in spelled(TRADE, trade_id=trade_id).optional


def test_a_cancel_that_came_without_an_entry_must_say_its_time() -> None:
    body = json.dumps(CANCEL).encode()
    assert [r.reason for r in parse_json(body).refused] == ["timestamp"]
    assert first(parse_json(json.dumps({**CANCEL, "timestamp": MS}).encode()))["undoes"] == 1


def test_trades_and_cancels_keep_the_order_of_their_entries() -> None:
    trades = [({**TRADE, **NAMED, "type": "trade"}, 0)] * 20
    undos = [(CORRECT, 2), (CANCEL, 1)]
    mixed = [*trades[:10], undos[0], *trades[10:], undos[1]]
    ticks = parse_entries([(ROW_ID + i, fields(message)) for i, (message, _) in enumerate(mixed)])
    assert ticks.optional["undoes"].tolist() == [undoes for _, undoes in mixed]
    assert ticks.optional["row_id"].tolist() == [ROW_ID + i for i in range(22)]
    assert ticks.optional["trade_key"].tolist() == [KEY] * 22


def test_a_massive_trade_has_the_key_of_its_exchange_and_id() -> None:
    trade = {"ev": "T", "sym": "MSFT", "x": 4, "i": "7", "p": 1.5, "s": 1, "t": MS}
    assert first(parse_json(json.dumps(trade).encode()))["trade_key"] == KEY


@pytest.mark.parametrize(
    ("conditions", "flags"),
    [([14, 41], None), ([37], 4), ([12], 4), ([15], 0), ([10], 6), ([38], 0), (["x"], 4), (7, 4)],
)
def test_the_conditions_of_a_massive_trade_count_under_the_sip_rules(conditions: object, flags: int | None) -> None:
    trade = json.dumps(
        {"ev": "T", "sym": "MSFT", "p": 1.5, "s": 1, "t": MS, "c": conditions}
    ).encode()  # 10:13 New York
    assert "flags" not in parse_json(trade, rules="all").optional
    assert first(parse_json(trade)).get("flags") == flags
    assert first(parse_bodies([trade])).get("flags") == flags
