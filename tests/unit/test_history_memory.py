import numpy as np
from tickstockpl.workers.commit.find.history_loader import _first_minutes
from tickstockpl.workers.detect.detector import COMPLETE, NOT_LOADED, Detector
from tickstockpl.workers.detect.history_memory import HistoryMemory
from tickstockpl.workers.history import CLOSED_DTYPE, History
from tickstockpl.workers.marks import AFFECTED, marks_of
from tickstockpl.workers.sessions import ALL_MINUTES, REGULAR_MINUTES, Track

MINUTE = 29_000_000
HOURS = Track("regular", 60)


def bars(symbol, count):
    made = np.zeros(count, CLOSED_DTYPE)
    made["symbol"], made["minute"] = symbol, MINUTE + np.arange(count)
    made["close"] = symbol + np.arange(count)
    return made


def detector_of(symbols, *, count=300):
    detector = Detector([f"S{n}" for n in range(symbols)])
    detector.histories[REGULAR_MINUTES].append(np.concatenate([bars(symbol, count) for symbol in range(symbols)]))
    for symbol in range(symbols):
        detector.set_reach(symbol, COMPLETE)
    return detector


def test_what_was_used_last_stays():
    detector, memory = detector_of(100), HistoryMemory(1_000_000)
    memory.begin([detector])
    detector.note_used(1, np.arange(60, 70))
    memory.keep_within()
    assert detector.allocated <= 1_000_000
    held = set(detector.histories[REGULAR_MINUTES].holds().tolist())
    assert set(range(60, 70)) <= held
    assert 30 < len(held) < 47  # 21.6 kB each
    assert detector.has(np.arange(100), REGULAR_MINUTES).tolist() == [symbol in held for symbol in range(100)]


def test_histories_of_minutes_in_use_that_do_not_fit_are_counted():
    detector, memory = detector_of(60), HistoryMemory(1_000_000)
    for _ in range(20):
        memory.begin([detector])
    detector.note_used(1, np.arange(50))
    dropped = memory.keep_within()
    assert dropped == 50 - len(detector.histories[REGULAR_MINUTES].holds())
    assert memory.keep_within() == 0


def test_histories_of_symbols_that_are_traded_no_more_are_not_counted():
    detector, memory = detector_of(60), HistoryMemory(1_000_000)
    for _ in range(20):
        memory.begin([detector])
    detector.note_used(1, np.arange(20))
    assert memory.keep_within() == 0
    assert len(detector.histories[REGULAR_MINUTES].holds()) < 60


def test_a_history_that_was_let_go_leaves_the_others_as_they_are():
    detector, memory = detector_of(100), HistoryMemory(1_000_000)
    memory.begin([detector])
    detector.note_used(1, np.array([7, 93]))
    memory.keep_within()
    for symbol in (7, 93):
        assert detector.histories[REGULAR_MINUTES].bars(symbol)["close"].tolist() == [symbol + n for n in range(300)]
    gone = next(symbol for symbol in range(100) if not detector.has(np.array([symbol]), REGULAR_MINUTES)[0])
    assert len(detector.histories[REGULAR_MINUTES].bars(gone)) == 0
    detector.histories[REGULAR_MINUTES].append(bars(gone, 3))
    assert detector.histories[REGULAR_MINUTES].bars(gone)["close"].tolist() == [gone, gone + 1, gone + 2]
    assert detector.histories[REGULAR_MINUTES].bars(7)["close"][-1] == 306


def test_of_two_partitions_the_older_use_is_let_go():
    first, second = detector_of(40), detector_of(40)
    memory = HistoryMemory(1_000_000)
    for detector in (first, second):
        memory.begin([detector])
        detector.note_used(1, np.arange(40))
    memory.keep_within()
    assert len(first.histories[REGULAR_MINUTES].holds()) == 0
    assert 30 < len(second.histories[REGULAR_MINUTES].holds()) <= 40


def test_the_end_of_an_hour_does_not_push_out_the_minutes():
    detector, memory = detector_of(30), HistoryMemory(1_000_000)
    memory.begin([detector])
    detector.note_used(1, np.arange(30))
    memory.begin([detector])
    detector.histories[HOURS].append(np.concatenate([bars(symbol, 300) for symbol in range(30)]))
    detector.note_used(60, np.arange(30))
    memory.keep_within()
    assert len(detector.histories[REGULAR_MINUTES].holds()) == 30
    assert len(detector.histories[HOURS].holds()) < 10


def test_a_symbol_that_is_traded_no_more_is_let_go_before_the_hours_of_others():
    detector, memory = detector_of(30), HistoryMemory(950_000)
    detector.histories[HOURS].append(np.concatenate([bars(symbol, 300) for symbol in range(20)]))
    for _ in range(1_000):
        memory.begin([detector])
    detector.note_used(1, np.arange(20))
    detector.note_used(60, np.arange(20))
    memory.keep_within()
    assert detector.histories[REGULAR_MINUTES].holds().tolist() == [*range(20)]
    assert len(detector.histories[HOURS].holds()) > 10


def test_what_is_loaded_ahead_leaves_room_for_what_comes():
    detector, memory = detector_of(20), HistoryMemory(1_000_000)
    memory.begin([detector])
    assert memory.room() == 1_000_000 - detector.allocated
    assert memory.symbols_ahead() == (1_000_000 - detector.allocated - 100_000) // 21_600


def test_a_partition_that_is_gone_does_not_count():
    memory = HistoryMemory(1_000_000)
    kept = detector_of(20)
    memory.begin([kept, detector_of(100)])
    assert memory.room() > 500_000


def test_below_the_bound_nothing_is_let_go():
    detector, memory = detector_of(100), HistoryMemory(10_000_000)
    memory.begin([detector])
    memory.keep_within()
    assert detector.has(np.arange(100), REGULAR_MINUTES).all()


def test_a_step_loads_a_share_of_the_bound_and_never_nothing():
    memory = HistoryMemory(1 << 20)
    memory.begin([detector_of(1) for _ in range(2)])
    assert [memory.symbols_of_a_step(timeframes) for timeframes in (1, 5)] == [10, 3]
    memory.begin([detector_of(1) for _ in range(100)])
    assert memory.symbols_of_a_step(5) == 1
    memory = HistoryMemory(1 << 40)
    memory.begin([detector_of(1)])
    assert memory.symbols_of_a_step(5) == 256


def test_the_first_marked_minute_of_some_symbols_is_not_that_of_others():
    """Of two symbols one has its 5-minute history and waits for its 1-minute one alone."""
    marks = marks_of(np.array([3, 9, 3, 40]), np.array([50, 7, 20, 1]), AFFECTED, publish=False)
    assert _first_minutes(marks, np.array([3, 4, 9])).tolist() == [20, 2**31 - 1, 7]


def test_histories_of_a_symbol_reach_as_far_as_the_shortest_that_is_held():
    detector = Detector(["A", "B"])
    for symbol in (0, 1):
        detector.set_reach(symbol, NOT_LOADED)
        detector.set_reach(symbol, COMPLETE, ALL_MINUTES)
        detector.set_reach(symbol, COMPLETE, REGULAR_MINUTES)
        detector.set_reach(symbol, COMPLETE, Track("extended", 5))
    detector.set_reach(0, MINUTE, Track("regular", 5))
    detector.level_reach(np.array([0, 1]))
    assert detector.has(np.array([0, 1]), REGULAR_MINUTES).tolist() == [False, True]
    five = marks_of(
        np.array([0, 0, 1]), np.array([MINUTE - 4, MINUTE, MINUTE - 4]), AFFECTED, publish=False, timeframe=5
    )
    assert detector.covers(five).tolist() == [True, False, False]


def test_rows_of_many_lengths_move_left_each_by_itself():
    history = History(50)
    for symbol in range(5):
        history.append(bars(symbol, 250 + symbol * 10))
    for later in range(300, 360):
        more = np.concatenate([bars(symbol, 1) for symbol in range(5)])
        more["minute"], more["close"] = MINUTE + later, later
        history.append(more)
    for symbol in range(5):
        assert history.bars(symbol)["close"][-60:].tolist() == list(range(300, 360))
        assert 250 <= history.end_of(symbol) <= 300
    assert not history.fit(np.arange(5), np.full(5, MINUTE + 10)).any()
    assert NOT_LOADED == -1
