import numpy as np
import pytest
from tickstockpl.contracts.frames.frame import decode, ticks_of
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.ticks import Refused, Ticks
from tickstockpl.producer.framer import Framer

REPLAY = Identity("r", "r", "replay", publish=False)
LIVE = Identity("p", "live", "live", delay_ms=900_000, codec="none")

# Modulo 2 by crc32: "D" 0xA3B36A04 goes to partition 0, "A" 0xD3D99E8B and "B" 0x4AD0CF31 to partition 1.


def ticks(symbols, first=0, refused=()):
    """Make one tick for each letter, its price its number in the feed."""
    names = sorted(set(symbols))
    codes = np.array([names.index(symbol) for symbol in symbols], "<u2")
    numbers = np.arange(first, first + len(codes))
    return Ticks(names, codes, numbers.astype("<i8"), numbers.astype("<f8"), np.ones(len(codes)), {}, refused)


def framer(identity=REPLAY, partitions=2, **options):
    return Framer(identity, partitions, now_ms=lambda: 77, **options)


def said(frames):
    """Return (partition, previous, last, kind, prices) of each frame."""
    found = []
    for frame in frames:
        header = decode(frame.body)
        assert (header.previous, header.last) == (frame.previous, frame.last)
        prices = [int(price) for price in ticks_of(header).price]
        found.append((frame.partition, frame.previous, frame.last, header.kind, prices))
    return found


def test_ticks_wait_for_a_full_frame_or_for_the_flush():
    maker = framer()
    assert maker.add(ticks("ADB")) == []
    assert maker.waiting == 3
    assert said(maker.flush()) == [(0, 0, 1, "replay", [1]), (1, 0, 2, "replay", [0, 2])]
    assert (maker.waiting, maker.flush()) == (0, [])


def test_numbers_of_a_partition_go_on_from_frame_to_frame():
    maker = framer()
    assert said(maker.add(ticks("A" * 513))) == [(1, 0, 512, "replay", list(range(512)))]
    assert said(maker.flush()) == [(1, 512, 513, "replay", [512])]


def test_a_large_batch_is_cut_into_full_frames():
    frames = framer().add(ticks("A" * 1500))
    assert [(frame.previous, frame.last) for frame in frames] == [(0, 512), (512, 1024)]


def test_the_end_frame_takes_one_number_in_every_partition_behind_all_that_waited():
    maker = framer()
    maker.add(ticks("AB"))
    assert said(maker.end()) == [(1, 0, 2, "replay", [0, 1]), (0, 0, 1, "end", []), (1, 2, 3, "end", [])]


@pytest.mark.parametrize("seed", range(5))
def test_the_frames_are_the_same_however_the_ticks_come_in_batches(seed):
    rng = np.random.default_rng(seed)
    symbols = rng.choice(list("ABCDEFGHIJ"), 5_000).tolist()

    def frames_of(cuts):
        maker, frames = framer(partitions=4), []
        for first, end in zip([0, *cuts], [*cuts, len(symbols)], strict=True):
            frames += maker.add(ticks(symbols[first:end], first))
        return sorted(said(frames + maker.end()))

    whole = frames_of([])
    assert frames_of(sorted(rng.integers(0, 5_000, 30).tolist())) == whole
    assert frames_of(list(range(1, 5_000, 97))) == whole
    assert sum(last - previous for _, previous, last, _, _ in whole) == 5_000 + 4


def test_refused_rows_get_the_same_numbers_however_a_batch_is_let_out():
    rows = [Refused("price", "", b"%d" % i) for i in range(3)]

    def frames_of(cuts):
        maker = framer(partitions=1)
        frames = maker.add(ticks("A" * 700))
        for first, end in zip([0, *cuts], [*cuts, 700], strict=True):
            frames += maker.add(ticks("A" * (end - first), 700 + first, refused=rows if first == 0 else ()))
        return said(frames + maker.end())

    assert frames_of([]) == frames_of([1, 300, 600]) == [
        (0, 0, 512, "replay", list(range(512))), (0, 512, 515, "replay", []),
        (0, 515, 1027, "replay", list(range(512, 1024))), (0, 1027, 1403, "replay", list(range(1024, 1400))),
        (0, 1403, 1404, "end", []),
    ]  # fmt: skip


def test_a_refused_row_takes_a_number_and_travels_with_its_reason():
    row = Refused("price", "f.csv:2: price is 0", b"line")
    (frame,) = framer(partitions=1).add(ticks("", refused=[row]))
    header = decode(frame.body)
    assert (header.previous, header.last, header.count, header.refused) == (0, 1, 0, [row])


def test_large_refused_rows_do_not_make_one_large_frame():
    rows = [Refused("too_large", "", b"x" * 60_000) for _ in range(130)]
    frames = framer(partitions=1).add(ticks("", refused=rows))
    assert [(frame.previous, frame.last) for frame in frames] == [(0, 64), (64, 128), (128, 130)]


def test_what_is_committed_already_is_counted_and_not_sent_again():
    maker = framer(partitions=1, skip={0: 1024})
    assert [(f.previous, f.last) for f in maker.add(ticks("A" * 2000))] == [(1024, 1536)]
    assert [(f.previous, f.last) for f in maker.end()] == [(1536, 2000), (2000, 2001)]


def test_a_frame_that_is_committed_in_part_is_sent_whole():
    assert [(f.previous, f.last) for f in framer(partitions=1, skip={0: 100}).add(ticks("A" * 512))] == [(0, 512)]


def test_a_frame_says_who_made_it_and_when():
    maker = framer(LIVE)
    maker.add(ticks("A"))
    (frame,) = maker.flush()
    header = decode(frame.body)
    assert (header.version, header.producer, header.feed, header.kind) == (1, "p", "live", "live")
    assert (header.born_ms, header.delay_ms, header.publish, header.codec) == (77, 900_000, True, "none")
    assert header.symbols == ["A"]
