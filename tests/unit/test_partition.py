import numpy as np
import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.partition import START, Position, ms_of, number_of, partition_of, position_of, split
from tickstockpl.contracts.ticks import Refused, Ticks


@pytest.mark.parametrize(
    # crc32("123456789") is 0xCBF43926 in every description of it.
    ("symbol", "partitions", "partition"),
    [("123456789", 16, 6), ("123456789", 1, 0), ("123456789", 1000, 0xCBF43926 % 1000), ("BRK.B", 16, 0x6A0F70AC % 16)],
)
def test_a_symbol_has_its_partition_by_crc32(symbol, partitions, partition):
    assert partition_of(symbol, partitions) == partition


def ticks(symbols, codes, **optional):
    n = len(codes)
    ts, price = np.arange(n, dtype="<i8"), np.arange(n, dtype="<f8")
    extra = {name: np.array(column) for name, column in optional.items()}
    return Ticks(symbols, np.array(codes, "<u2"), ts, price, np.ones(n), extra, [Refused("price", "", b"")])


def test_ticks_are_dealt_out_to_their_partitions_in_their_order():
    # Modulo 2, crc32: "A" 0xD3D99E8B is odd, "B" 0x4AD0CF31 odd, "D" 0xA3B36A04 even.
    parts = split(ticks(["A", "B", "D"], [2, 0, 1, 0, 2], row_id=[9, 8, 7, 6, 5]), 2)
    assert {p: part.ts.tolist() for p, part in parts.items()} == {0: [0, 4], 1: [1, 2, 3]}
    assert parts[1].optional["row_id"].tolist() == [8, 7, 6]
    assert [parts[1].symbols[code] for code in parts[1].symbol_index] == ["A", "B", "A"]
    assert not parts[0].refused


def test_a_partition_without_a_tick_is_left_out():
    assert list(split(ticks(["D"], [0, 0]), 4096)) == [0xA3B36A04 % 4096]


def test_positions_are_ordered_as_redis_orders_ids():
    texts = ["0-0", "5-0", "5-2", "5-10", "40-1"]
    assert sorted(map(Position.parse, reversed(texts))) == [(0, 0), (5, 0), (5, 2), (5, 10), (40, 1)]
    assert [str(Position.parse(text)) for text in texts] == texts


def test_an_id_may_be_bytes_and_may_lack_its_second_half():
    assert (Position.parse(b"17-3"), Position.parse("17")) == (Position(17, 3), Position(17, 0))


@pytest.mark.parametrize("text", ["", "x", "1-x", "-1", "$", ">"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(UsageError, match="not a stream id"):
        Position.parse(text)


def test_before_is_the_largest_id_below():
    assert Position(5, 3).before() == (5, 2)
    assert Position(5, 0).before() == (4, 2**64 - 1)
    assert START.before() == START


@pytest.mark.parametrize(
    ("position", "number"),
    [
        (START, 0),
        (Position(0, 7), 7),
        (Position(1, 0), 1_048_576),
        (Position(1_700_000_000_000, 1_048_575), 1_782_579_200_001_048_575),
    ],
)
def test_an_id_folds_into_one_number_and_back(position, number):
    assert number_of(position) == number
    assert position_of(number) == position


def test_an_id_that_does_not_fit_has_no_number():
    assert number_of(Position(1, 1 << 20)) is None
    assert number_of(Position(1 << 43, 0)) is None
    assert number_of(Position((1 << 43) - 1, (1 << 20) - 1)) == (1 << 63) - 1


def test_the_milliseconds_of_folded_ids():
    assert ms_of(np.array([0, 5, (7 << 20) + 3])).tolist() == [0, 0, 7]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("5-7", Position(5, 7)), ("5", Position(5, 0)), ("", START), ("abc", START), ("-5-7", START), ("5--7", START),
        (f"{2**64}-0", START), (f"0-{2**64}", START), (f"{2**64 - 1}-{2**64 - 1}", Position(2**64 - 1, 2**64 - 1)),
    ],
)  # fmt: skip
def test_a_kept_position_that_no_stream_can_have_is_the_start(text, position):
    assert Position.kept(text) == position
