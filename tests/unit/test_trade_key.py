"""The number that names a trade among those of its symbol."""

import numpy as np
import pytest
from tickstockpl.contracts.spellings.trade_key import NO_KEY, trade_key, trade_keys


@pytest.mark.parametrize(
    ("exchange", "trade_id", "key"),
    [
        (4, "1", 260),
        (12, "62879131651347", 16097057702744844),
        (0, "7", 1792),
        (255, "18014398509481983", 4611686018427387903),
    ],
)
def test_a_small_number_on_a_numbered_exchange_is_its_own_key(exchange: int, trade_id: str, key: int) -> None:
    assert trade_key(exchange, trade_id) == key


@pytest.mark.parametrize(
    ("exchange", "trade_id"),
    [
        (4, "18014398509481984"),  # 2**54: does not fit above the exchange
        (256, "1"),
        (-1, "1"),
        (0, "0"),  # would be NO_KEY
        ("XNAS", "1"),
        (4, "52983525034825-A"),
        (4, "-7"),
        (4, "1_000"),
        (4, "٣"),  # a digit, but none that a feed means
        (4, "9" * 5000),
        (4, "\ud800"),
    ],
)
def test_anything_else_is_a_hash_below_zero(exchange: int | str, trade_id: str) -> None:
    assert -(2**63) <= trade_key(exchange, trade_id) < 0


def test_a_hash_is_the_same_in_each_process_and_version() -> None:
    # printf 'XNAS\0abc' | b2sum -l 64  is  dbb478313af5c5c4: its top bit set, as a signed number
    assert trade_key("XNAS", "abc") == int.from_bytes(bytes.fromhex("dbb478313af5c5c4"), signed=True)


def test_hashes_of_other_exchanges_and_ids_differ() -> None:
    names = [("XNAS", "1"), ("XNYS", "1"), ("XNAS", "2"), ("XNAS1", ""), (4, "a"), (40, "a"), (4, "0a")]
    assert len({trade_key(*name) for name in names}) == len(names)


def test_a_number_and_its_text_are_the_same_exchange() -> None:
    assert trade_key("4", "1") == trade_key(4, "1") == 260
    assert trade_key("4", "x") == trade_key(4, "x")


def test_leading_zeros_and_blanks_around_do_not_make_another_trade() -> None:
    assert trade_key("04", " 0001 ") == trade_key(" 4", "1\n") == 260
    assert trade_key("XNAS ", " x") == trade_key("XNAS", "x")
    assert trade_keys(["4 ", "4"], [" 1", "x "]).tolist() == [260, trade_key(4, "x")]


def test_an_empty_exchange_is_none() -> None:
    assert trade_key("", "7") == trade_key(0, "7") == 1792


def test_many_trades_have_the_keys_that_each_has() -> None:
    exchanges: list[int | str] = [4, 300, "XNAS", 11, 0, 4]
    ids = ["1", "2", "3", "x", "0", "99999999999999999999999"]
    assert trade_keys(exchanges, ids).tolist() == [
        trade_key(exchange, trade_id) for exchange, trade_id in zip(exchanges, ids, strict=True)
    ]


def test_columns_of_numbers_have_the_keys_of_their_texts() -> None:
    assert trade_keys(np.array([4, 12]), np.array([1, 62879131651347])).tolist() == [260, 16097057702744844]
    assert trade_keys([4, 12], ["1", "62879131651347"]).tolist() == [260, 16097057702744844]
    assert trade_keys(np.array([300]), np.array([1])).tolist() == [trade_key(300, "1")]


@pytest.mark.parametrize("ids", [["", "1"], ["", ""]])
def test_a_trade_without_an_id_has_no_key(ids: list[str]) -> None:
    assert trade_keys([4, 4], ids).tolist() == [NO_KEY, 260 if ids[1] else NO_KEY]


@pytest.mark.parametrize("exchanges", [[4, "1_0"], ["4", 10], [4, 2**70], [4, 2**63], [4, -1]])
def test_exchanges_of_mixed_spelling_have_the_keys_of_each(exchanges: list[int | str]) -> None:
    assert trade_keys(exchanges, ["1", "2"]).tolist() == [260, trade_key(exchanges[1], "2")]


def test_no_trades_have_no_keys() -> None:
    keys = trade_keys([], [])
    assert (len(keys), keys.dtype) == (0, np.dtype("<i8"))
