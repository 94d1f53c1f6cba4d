"""What a frame carries beside its block."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tickstockpl.contracts.errors import BadFrame
from tickstockpl.contracts.frames.aside import NOTHING, Aside
from tickstockpl.contracts.frames.frame import Frame, decode, encode, ticks_of
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.ticks import Ticks, concat

LIVE = Identity("p", "live", "live")


def ticks(notes: list[int], texts: tuple[str, ...], facility: int = 0) -> Ticks:
    n = len(notes)
    optional = {"note": np.array(notes, "<u4"), "facility": np.full(n, facility, "<u4")}
    return Ticks(["A"], np.zeros(n, "<i4"), np.full(n, 10**18, "<i8"), np.ones(n), np.ones(n), optional, (), texts)


def told(some: Ticks) -> list[str]:
    return [some.notes[place - 1] if place else "" for place in some.optional["note"].tolist()]


@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_notes_and_facilities_come_through_a_frame_those_alone_that_it_needs(codec: str) -> None:
    some = ticks([3, 0, 3, 1], ("one", "two", "three"), 201)
    frame = decode(make_frame(replace(LIVE, codec=codec), some, "live", 0, 4, 1))
    assert frame.aside.notes == ["one", "three"]
    assert frame.columns == []
    read = ticks_of(frame)
    assert told(read) == ["three", "", "three", "one"]
    assert read.optional["facility"].tolist() == [201] * 4


def test_a_frame_that_says_nothing_beside_carries_nothing() -> None:
    frame = decode(make_frame(LIVE, ticks([0, 0], ("one",)), "live", 0, 2, 1))
    assert frame.aside == NOTHING
    body = make_frame(LIVE, ticks([0, 0], ()), "live", 0, 2, 1)
    assert (body[0], len(msgspec.msgpack.decode(body[:-4]))) == (0x9F, 15)


def test_batches_with_notes_of_their_own_are_joined() -> None:
    joined = concat([ticks([1, 2], ("a", "b")), replace(ticks([0], ()), optional={}), ticks([1, 0], ("b",))])
    assert told(joined) == ["a", "b", "", "b", ""]


def test_a_program_of_before_reads_the_frame_without_what_stands_beside() -> None:
    body = make_frame(LIVE, ticks([1], ("a",), 7), "live", 0, 1, 1)

    class Older(msgspec.Struct, array_like=True):
        version: int
        producer: str

    assert msgspec.msgpack.decode(body[:-4], type=Older) == Older(1, "p")
    fields = msgspec.msgpack.decode(body[:-4])[:-1]
    older: Frame = msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Frame)
    assert older.aside == NOTHING
    assert len(ticks_of(older)) == 1


@pytest.mark.parametrize(
    "aside",
    [
        Aside(["price"], b"", []),
        Aside(["note"], b"", ["a"]),
        Aside(["note"], b"\x00" * 3, ["a"]),
        Aside(["note"], b"\x02\x00\x00\x00", ["a"]),
        Aside(["facility", "note"], b"\x00" * 4, []),
    ],
)
@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_what_does_not_fit_is_a_bad_frame(aside: Aside, codec: str) -> None:
    whole = decode(make_frame(LIVE, ticks([0], ()), "live", 0, 1, 1))
    ours = Frame(*[getattr(whole, name) for name in Frame.__struct_fields__])
    broken = msgspec.structs.replace(ours, aside=aside, codec=codec, block=whole.block if codec == "zstd" else b"")
    with pytest.raises(BadFrame):
        ticks_of(decode(encode(broken)))


def test_a_column_that_belongs_beside_is_none_of_the_block() -> None:
    whole = decode(make_frame(LIVE, ticks([0], ()), "live", 0, 1, 1))
    with pytest.raises(BadFrame):
        ticks_of(decode(encode(msgspec.structs.replace(whole, columns=["note"]))))
