from datetime import UTC, datetime

from tickstockpl.db.look.rates import Growth, Rates, WorkerRow, growth

MORNING = datetime(2026, 1, 15, 14, tzinfo=UTC)
NOON = datetime(2026, 1, 15, 17, tzinfo=UTC)


def worker(ticks, bars=0, cpu_s=0.0, *, name="a", started_at=MORNING, living=True, idle_s=0.5, age_s=100.0):
    return WorkerRow(name, started_at, living, idle_s, age_s, ticks, bars, cpu_s, 80.0, 12.0, 0)


def test_counts_grow_by_what_each_worker_added():
    before = [worker(1000, 10, 1.0), worker(500, 5, 2.0, name="b")]
    now = [worker(1300, 11, 1.5), worker(600, 7, 2.25, name="b")]
    assert growth(before, now) == Growth(400, 3, 0.75)


def test_a_worker_that_started_again_adds_all_that_its_row_says():
    assert growth([worker(1000, 10)], [worker(40, 1, started_at=NOON)]) == Growth(40, 1, 0)


def test_a_count_that_fell_is_a_worker_that_started_again():
    assert growth([worker(1000, 10, 9.0)], [worker(40, 1, 0.5)]) == Growth(40, 1, 0.5)


def test_a_new_worker_adds_all_that_its_row_says():
    assert growth([worker(1000)], [worker(1000), worker(70, 2, name="b")]) == Growth(70, 2, 0)


def test_a_worker_that_ended_takes_nothing_away():
    assert growth([worker(1000), worker(70, name="b")], [worker(1005)]) == Growth(5, 0, 0)


def test_the_first_look_says_the_mean_since_the_start_of_the_busy_workers():
    rows = [
        worker(1000, 200, 50.0, age_s=100.0),
        worker(9999, 9999, 99.0, name="idle", idle_s=60.0),
        worker(9999, 9999, 99.0, name="dead", living=False),
    ]
    assert Rates().add(rows, 5.0) == Growth(10, 2, 0.5)


def test_later_looks_say_the_rate_since_the_look_before():
    rates = Rates()
    rates.add([worker(1000)], 10.0)
    rates.add([worker(1500, cpu_s=1.0)], 15.0)
    rate = rates.add([worker(4000, cpu_s=3.5)], 20.0)
    assert (rate.ticks, rate.cpu_s) == (500, 0.5)


def test_bars_that_close_once_a_minute_have_a_rate_between_two_closings():
    rates = Rates()
    rates.add([worker(0, idle_s=60.0)], 0.0)
    seen = [rates.add([worker(at, bars=300 * (at // 60), idle_s=60.0)], float(at)).bars * 60 for at in range(5, 600, 5)]
    assert all(rate == 0 for rate in seen[:11])  # the first minute has not closed
    assert all(150 <= rate <= 450 for rate in seen[11:])
    assert seen[-1] == 300


def test_bars_before_the_first_look_count_at_their_mean():
    rates = Rates()
    rates.add([worker(1000, 1000, age_s=100.0)], 0.0)  # ten bars a second
    assert rates.add([worker(1000, 1000)], 60.0).bars == 5  # half of the two minutes brought none
