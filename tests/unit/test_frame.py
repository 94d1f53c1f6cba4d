import zlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import zstandard
from tickstockpl.contracts.errors import BadFrame, UnknownFrameVersion
from tickstockpl.contracts.frames.frame import (
    Frame,
    decode,
    encode,
    only_used_symbols,
    pack_columns,
    ticks_of,
    ticks_of_alike,
)
from tickstockpl.contracts.ticks import Refused, Ticks

TICKS = Ticks(
    ["A", "BRK.B", "Ä"], np.array([0, 2, 1, 0], "<u2"), np.array([1, -2, 2**62, 4], "<i8"),
    np.array([1.5, 2.25, 1e11, 0.000001]), np.array([100.0, 0.0, 0.5, 1e13]),
    {"open": np.array([1.0, 2.0, 3.0, 4.0]), "whole_minute": np.array([0, 1, 0, 1], "<u1"),
     "row_id": np.array([5, 6, 7, 2**62], "<i8")},
)  # fmt: skip
REFUSED = [Refused("price", "price is NaN", b"\x00\xff", 9), Refused("bad_row", "f.csv:3", b"x")]


def frame(ticks=TICKS, codec="zstd", **changed):
    values = {
        "version": 1, "producer": "p", "feed": "live", "kind": "live", "previous": 10, "last": 16,
        "born_ms": 1_700_000_000_000, "delay_ms": 900_000, "publish": True, "count": len(ticks),
        "symbols": list(ticks.symbols), "columns": list(ticks.optional), "codec": codec,
        "block": pack_columns(ticks, codec), "refused": REFUSED,
    }  # fmt: skip
    return Frame(**values | changed)


def columns(ticks):
    names = {"symbol": [ticks.symbols[i] for i in ticks.symbol_index], "ts": ticks.ts.tolist()}
    names |= {"price": ticks.price.tolist(), "size": ticks.size.tolist()}
    return names | {name: column.tolist() for name, column in ticks.optional.items()}


@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_a_frame_comes_back_as_it_was(codec):
    sent = frame(codec=codec)
    received = decode(encode(sent))
    assert received == sent
    assert columns(ticks_of(received)) == {
        "symbol": ["A", "Ä", "BRK.B", "A"], "ts": [1, -2, 2**62, 4], "price": [1.5, 2.25, 1e11, 0.000001],
        "size": [100.0, 0.0, 0.5, 1e13], "open": [1.0, 2.0, 3.0, 4.0], "whole_minute": [0, 1, 0, 1],
        "row_id": [5, 6, 7, 2**62],
    }  # fmt: skip
    assert ticks_of(received).refused == REFUSED


def test_a_frame_without_ticks_comes_back():
    end = frame(Ticks.empty(), kind="end", previous=16, last=17, block=b"", refused=[])
    received = decode(encode(end))
    assert (received.kind, received.last, len(ticks_of(received))) == ("end", 17, 0)


def test_a_replay_is_a_feed_of_its_own():
    assert frame(producer="r", feed="r").is_replay
    assert not frame().is_replay


def test_only_symbols_with_a_row_travel():
    used = only_used_symbols(TICKS.take(np.array([1, 0])))
    assert (used.symbols, used.symbol_index.tolist()) == (["A", "Ä"], [1, 0])


@pytest.mark.parametrize("place", range(0, 240, 7))
def test_any_damaged_byte_is_noticed(place):
    body = bytearray(encode(frame()))
    body[place] ^= 0x10
    with pytest.raises(BadFrame):
        decode(bytes(body))


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 50, -5, -1])
def test_a_frame_that_is_cut_off_is_noticed(length):
    with pytest.raises(BadFrame):
        decode(encode(frame())[:length])


@pytest.mark.parametrize("body", [b"AAPL", b'{"symbol":"A"}', b"\xff" * 300, b"\x93\x01\x02\x03"])
def test_what_is_no_frame_is_refused(body):
    with pytest.raises(BadFrame, match="not a frame"):
        decode(body)


def sealed(array):
    """Put the checksum behind an array that some program wrote."""
    return array + zlib.crc32(array).to_bytes(4, "little")


@pytest.mark.parametrize("rest", [[], ["p", {"other": "layout"}], list(msgspec.structs.astuple(frame()))[1:]])
def test_a_frame_of_another_version_is_refused_with_both_numbers(rest):
    body = sealed(msgspec.msgpack.encode([2, *rest]))
    with pytest.raises(UnknownFrameVersion, match="frame version 2, but this program reads version 1: upgrade it"):
        decode(body)


@pytest.mark.parametrize(
    "changed",
    [
        {"previous": 17}, {"previous": -1}, {"last": -1, "previous": -2}, {"count": -1}, {"producer": ""}, {"feed": ""},
        {"producer": "a\nb"}, {"feed": "\x00"}, {"kind": "other"}, {"codec": "lz4"},
        {"born_ms": 2**43}, {"delay_ms": -1}, {"last": 2**63}, {"producer": "p" * 201}, {"symbols": [1]},
        {"refused": [1]}, {"block": 3},
    ],
)  # fmt: skip
def test_a_header_out_of_bounds_is_refused(changed):
    with pytest.raises(BadFrame):
        decode(encode(frame(**changed)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"columns": ["nothing"]}, "unknown column"),
        ({"count": 5, "last": 17}, "truncated block"),
        ({"count": 3, "last": 15}, "bytes, but 3 ticks take"),
        ({"columns": ["open"]}, "bytes, but 4 ticks take"),
        ({"symbols": ["A", "B"]}, "symbol index 2 of 2 symbols"),
        ({"block": b"no zstd"}, "corrupt block"),
        ({"block": pack_columns(TICKS)[:-3]}, "corrupt block"),
        ({"block": b""}, "truncated block"),
    ],
)
def test_a_block_that_does_not_fit_its_header_is_refused(changed, said):
    with pytest.raises(BadFrame, match=said):
        ticks_of(decode(encode(frame(**changed))))


def test_a_block_that_claims_gigabytes_is_refused_without_being_unpacked():
    # A zstd frame header alone: single segment, 8 bytes of content size, 1 TiB.
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little")
    with pytest.raises(BadFrame, match="block claims 1099511627776 bytes"):
        ticks_of(frame(block=bomb))


def test_a_text_that_is_no_utf_8_is_refused_though_the_checksum_is_right():
    array = encode(frame())[:-4].replace(b"\xa5BRK.B", b"\xa5BRK.\xff")
    with pytest.raises(BadFrame, match="not a frame: 'utf-8' codec can't decode"):
        decode(sealed(array))


@pytest.mark.parametrize(
    "odd", [b"\x91" * 100_000 + b"\xc0", b"\x81\xa1a" * 100_000 + b"\xc0", b"\xdd\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("place", [0, 15])
def test_nesting_without_end_and_claims_of_any_size_are_refused(odd, place):
    values = [msgspec.msgpack.encode(value) for value in msgspec.structs.astuple(frame())]
    values.insert(place, odd)
    with pytest.raises(BadFrame):
        decode(sealed(b"\xdc\x00\x10" + b"".join(values)))


@pytest.mark.parametrize(("rows", "claimed"), [(1, 645_000), (1, 16_700_000), (512, 511), (33_280, 33_279)])
def test_a_block_unpacks_to_its_rows_exactly_or_not_at_all(rows, claimed):
    bomb = frame(Ticks.empty(), last=10 + rows, count=rows, symbols=["A"], refused=[],
                 block=zstandard.ZstdCompressor(level=1).compress(bytes(26 * claimed)))  # fmt: skip
    with pytest.raises(BadFrame, match=r"block"):
        ticks_of(decode(encode(bomb)))
    with pytest.raises(BadFrame, match=r"block"):
        ticks_of_alike([bomb, bomb])


def test_a_block_that_does_not_say_its_size_is_refused():
    block = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(26))
    with pytest.raises(BadFrame, match="block claims -1 bytes"):
        ticks_of(decode(encode(frame(Ticks.empty(), last=11, count=1, symbols=["A"], refused=[], block=block))))


@pytest.mark.parametrize("changed", [{"count": 33_281, "last": 33_293}, {"last": 2**49, "previous": 2**49 - 6}])
def test_more_rows_and_higher_numbers_than_anybody_sends_are_refused(changed):
    with pytest.raises(BadFrame):
        decode(encode(frame(**changed)))


def test_an_entry_of_more_bytes_than_a_frame_may_have_is_refused_by_its_length():
    with pytest.raises(BadFrame, match="8388609 bytes, but a frame has at most 8388608"):
        decode(bytes((8 << 20) + 1))


@pytest.mark.parametrize(
    ("row_ids", "refused_id"),
    [([10, 11, 12, 13], 11), ([11, 12, 13, 17], 11), ([13, 12, 14, 15], 11), ([11, 12, 13, 14], 17)],
)  # fmt: skip
def test_front_door_rows_lie_within_the_frames_numbers_in_order(row_ids, refused_id):
    made = replace(TICKS, optional={"row_id": np.array(row_ids, "<i8")})
    with pytest.raises(BadFrame, match="number"):
        ticks_of(decode(encode(frame(made, producer="front-door", refused=[Refused("price", "", b"", refused_id)]))))


@pytest.mark.parametrize("undo", [{"undoes": [0, 3, 0, 0]}, {"undoes": [1, 0, 0, 0], "trade_key": [0, 1, 1, 1]},
                                  {"undoes": [0, 2, 0, 0], "trade_key": [1, 1, 1, 1]}])  # fmt: skip
def test_an_undo_names_a_trade_and_what_stands_in_its_place(undo):
    kinds = {"undoes": "<u1", "trade_key": "<i8"}
    prices = np.array([1.0, np.nan, 1.0, 1.0])
    made = replace(TICKS, price=prices, optional={name: np.array(rows, kinds[name]) for name, rows in undo.items()})
    with pytest.raises(BadFrame):
        ticks_of(decode(encode(frame(made))))
