import os
import resource
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from tickstockpl.contracts.errors import SetupError
from tickstockpl.contracts.gap_reasons import SPOOL_FULL
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.producer.framer import Numbered
from tickstockpl.producer.spool.overflow import admitted
from tickstockpl.producer.spool.spool import Spool

BODY = 1000
RECORD = 28 + BODY  # four bytes each for crc, length and partition, eight for each of the two numbers
SEGMENTS_OF_3 = 16 * 2 * RECORD  # a segment takes a record as long as it is shorter than a sixteenth of the bound


def frames(count, first=0, partitions=2):
    """Make frames of ten ticks each, dealt out to the partitions in turn."""
    made = []
    for n in range(first, first + count):
        previous = n // partitions * 10
        made.append(Numbered(n % partitions, previous, previous + 10, bytes([n % 256]) * BODY))
    return made


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "p", max_bytes=SEGMENTS_OF_3) as made:
        yield made


def append_one_by_one(spool, some):
    for frame in some:
        spool.append([frame])


def as_after_a_kill(spool, tmp_path):
    """Copy a spool's files while it is in use: what the next process finds."""
    return shutil.copytree(spool.folder, tmp_path / "killed" / "p")


def files(folder):
    return sorted(folder.glob("*.frames"))


def test_frames_come_out_in_the_order_in_which_they_went_in(spool):
    some = frames(20)
    append_one_by_one(spool, some)
    assert len(files(spool.folder)) > 3
    assert spool.read(7) + spool.read(100) == some
    assert spool.read(1) == []


def test_reading_goes_on_with_what_is_appended_later(spool):
    some = frames(12)
    spool.append(some[:5])
    assert spool.read(100) == some[:5]
    append_one_by_one(spool, some[5:])
    assert spool.read(100) == some[5:]


def test_rewound_spool_gives_every_frame_again(spool):
    some = frames(10)
    append_one_by_one(spool, some)
    assert spool.read(6) == some[:6]
    spool.rewind()
    assert spool.read(100) == some


def test_what_a_killed_process_wrote_is_there_for_the_next(spool, tmp_path):
    some = frames(20)
    append_one_by_one(spool, some)
    with Spool(as_after_a_kill(spool, tmp_path), max_bytes=1) as found:
        assert not found.is_empty
        assert found.read(100) == some


@pytest.mark.parametrize("torn_bytes", [1, BODY, RECORD - 1])
def test_torn_tail_is_cut_at_the_last_good_record(spool, tmp_path, torn_bytes):
    some = frames(5)
    spool.append(some)
    killed = as_after_a_kill(spool, tmp_path)
    os.truncate(files(killed)[-1], len(some) * RECORD - torn_bytes)
    with Spool(killed, max_bytes=1) as found:
        assert found.read(100) == some[:4]


def test_zeros_behind_the_last_record_are_no_frames(spool, tmp_path):
    some = frames(5)
    spool.append(some)
    killed = as_after_a_kill(spool, tmp_path)
    os.truncate(files(killed)[-1], len(some) * RECORD + 4096)  # what a power cut leaves
    with Spool(killed, max_bytes=1) as found:
        assert found.read(100) == some


@pytest.mark.parametrize("at", [0, 4, 8, 12, 20, 28, RECORD - 1])
def test_damaged_record_ends_its_segment_but_not_the_next(spool, tmp_path, at):
    some = frames(9)
    append_one_by_one(spool, some)  # three in a segment
    killed = as_after_a_kill(spool, tmp_path)
    damaged = files(killed)[1]
    body = bytearray(damaged.read_bytes())
    body[RECORD + at] ^= 1
    damaged.write_bytes(body)
    with Spool(killed, max_bytes=1) as found:
        assert found.read(100) == some[:4] + some[6:]


def test_segment_is_deleted_when_all_of_it_is_committed(spool):
    append_one_by_one(spool, frames(9))  # segments up to the numbers 20 and 10, 30 and 30, 40 and 50
    spool.forget({0: 20, 1: 0})
    assert len(files(spool.folder)) == 3
    spool.forget({0: 20, 1: 10})
    assert len(files(spool.folder)) == 2
    spool.forget({0: 50, 1: 30})
    assert len(files(spool.folder)) == 1
    spool.forget({0: 50, 1: 40})
    assert (spool.is_empty, files(spool.folder)) == (True, [])


def test_what_another_process_left_is_not_deleted_before_it_was_read(spool, tmp_path):
    spool.append(frames(3))
    with Spool(as_after_a_kill(spool, tmp_path), max_bytes=1) as found:
        found.forget({0: 99, 1: 99})
        assert not found.is_empty
        assert len(found.read(100)) == 3
        assert found.read(1) == []
        found.forget({0: 99, 1: 99})
        assert found.is_empty


def test_frames_go_on_behind_a_deleted_segment(spool):
    some = frames(6)
    spool.append(some[:3])
    assert spool.read(2) == some[:2]
    spool.forget({0: 20, 1: 10})
    spool.append(some[3:])
    assert spool.read(100)[-3:] == some[3:]


def test_spool_is_full_at_its_bound_and_has_room_again_when_segments_go(spool):
    append_one_by_one(spool, frames(31))
    assert not spool.is_full
    append_one_by_one(spool, frames(1, first=31))
    assert spool.is_full
    spool.forget({0: 20, 1: 20})
    assert not spool.is_full


def test_only_one_process_has_a_spool(spool):
    with pytest.raises(SetupError, match="another process uses the spool"):
        Spool(spool.folder, max_bytes=1)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--spool-dir"):
        Spool(tmp_path / "file" / "p", max_bytes=1)


def test_only_an_empty_spool_leaves_nothing(tmp_path):
    with Spool(tmp_path / "p", max_bytes=1) as spool:
        spool.append(frames(1))
    assert len(files(tmp_path / "p")) == 1
    with Spool(tmp_path / "p", max_bytes=1) as spool:
        assert len(spool.read(9)) == 1
        assert spool.read(1) == []
        spool.forget({0: 10})
    assert not (tmp_path / "p").exists()


@pytest.fixture
def file_size_limit():
    """Give a function that makes the system refuse to let files grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_the_disk_has_no_room_for_is_kept_and_makes_the_spool_full(tmp_path, file_size_limit):
    some = frames(6)
    with Spool(tmp_path / "p", max_bytes=1 << 30) as spool:
        file_size_limit(3 * RECORD + 17)
        append_one_by_one(spool, some)
        assert spool.is_full
        assert spool.read(100) == some[:3]
        file_size_limit(resource.RLIM_INFINITY)
        spool.append([])
        assert not spool.is_full
        assert spool.read(100) == some[3:]


def test_what_the_disk_has_no_room_for_can_be_taken_back(tmp_path, file_size_limit):
    some = frames(6)
    with Spool(tmp_path / "p", max_bytes=1 << 30) as spool:
        file_size_limit(3 * RECORD + 17)
        append_one_by_one(spool, some)
        assert spool.take_unwritten() == some[3:]
        assert not spool.is_full


# -- what there is no room for -----------------------------------------------------------------------------------------

MINUTE_MS = 60_000
NOW_MS = 1_800_000_000_000


def ticks(symbols, *minutes_ago):
    at_ns = [(NOW_MS - minutes * MINUTE_MS) * 1_000_000 for minutes in minutes_ago]
    ones = np.ones(len(at_ns))
    return Ticks(symbols, np.arange(len(at_ns)) % len(symbols), np.array(at_ns), ones, ones)


def admit(writer, batches):
    """Return what was let through, and the gaps."""
    gaps = []
    through = list(admitted(batches, writer, lambda *gap: gaps.append(gap)))
    return through, gaps


def test_ticks_pass_while_there_is_room():
    batch = ticks(["IBM"], 0)
    writer = SimpleNamespace(is_full=False, now_ms=lambda: NOW_MS)
    assert admit(writer, [batch, None]) == ([batch, None], [])


def test_ticks_without_room_are_dropped_and_reported_by_symbol_and_time():
    writer = SimpleNamespace(is_full=True, now_ms=lambda: NOW_MS)
    batches = [ticks(["IBM", "AIG", "UNUSED"], 3, 2), None, ticks(["BAC"], 1)]
    gap = (NOW_MS - 3 * MINUTE_MS, NOW_MS - MINUTE_MS, ["AIG", "BAC", "IBM"], SPOOL_FULL)
    assert admit(writer, batches) == ([None, None, None], [gap])


def test_each_time_that_the_spool_was_full_is_a_gap_of_its_own():
    writer = SimpleNamespace(is_full=True, now_ms=lambda: NOW_MS)

    def feed():
        yield ticks(["IBM"], 9)
        writer.is_full = False
        yield ticks(["IBM"], 8)
        writer.is_full = True
        yield ticks(["IBM"], 7)

    through, gaps = admit(writer, feed())
    assert [batch is not None for batch in through] == [False, True, False]
    nine, seven = NOW_MS - 9 * MINUTE_MS, NOW_MS - 7 * MINUTE_MS
    assert gaps == [(nine, nine, ["IBM"], SPOOL_FULL), (seven, seven, ["IBM"], SPOOL_FULL)]


def test_a_tick_of_another_year_bounds_no_gap():
    writer = SimpleNamespace(is_full=True, now_ms=lambda: NOW_MS)
    _, gaps = admit(writer, [ticks(["IBM"], 2), ticks(["IBM"], -525_600)])
    assert gaps == [(NOW_MS - 2 * MINUTE_MS, NOW_MS - 2 * MINUTE_MS, ["IBM"], SPOOL_FULL)]


def test_a_disk_that_cannot_be_read_for_a_moment_costs_nothing(spool):
    some = frames(12)
    append_one_by_one(spool, some)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = os.open(os.devnull, os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (held + 1, limit[1]))
    try:
        assert spool.read(100) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        os.close(held)
    assert spool.read(100) == some


def test_a_folder_that_is_removed_before_the_first_frame_is_made_again(spool):
    shutil.rmtree(spool.folder)
    some = frames(4)
    spool.append(some)
    assert not spool.is_full
    assert spool.read(100) == some
    with pytest.raises(SetupError, match="another process uses the spool"):
        Spool(spool.folder, max_bytes=1)


def test_frames_of_a_file_that_is_removed_while_it_is_written_are_still_sent(spool):
    some = frames(4)
    spool.append(some[:2])
    shutil.rmtree(spool.folder)
    assert spool.read(100) == some[:2]
    spool.append(some[2:])
    assert spool.read(100) == some[2:]
    spool.rewind()  # Redis may have lost what it had
    assert spool.read(100) == some
    assert len(files(spool.folder)) > 0


def test_removed_files_cost_their_own_frames_and_not_those_that_come_later(spool):
    some = frames(20)
    append_one_by_one(spool, some[:12])
    shutil.rmtree(spool.folder)
    read = spool.read(100)
    append_one_by_one(spool, some[12:])
    assert (read + spool.read(100))[-8:] == some[12:]
    spool.forget({0: 20, 1: 20})
    assert not spool.is_full
