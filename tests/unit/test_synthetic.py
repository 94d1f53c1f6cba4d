"""The synthetic market: deterministic, shaped as asked, and with exactly the trouble that was asked for."""

import numpy as np
import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.spellings.tick_json import parse_json
from tickstockpl.contracts.ticks import REASONS, concat
from tickstockpl.producer.synthetic import Market, SyntheticSource, Trouble

SECOND_NS = 1_000_000_000
START_NS = 1_748_871_000_000_000_000  # 2025-06-02T13:30:00Z
MINUTE_CHUNK_NS = 60 * SECOND_NS


def all_of(market, seconds):
    chunks = list(SyntheticSource(market, seconds=seconds))
    return concat([c.ticks for c in chunks]), np.concatenate([c.arrival_ns for c in chunks])


def rows_of(chunk):
    ticks = chunk.ticks
    columns = (ticks.symbol_index, ticks.ts, ticks.price, ticks.size, chunk.arrival_ns)
    return [column.tolist() for column in columns], ticks.symbols, ticks.refused


def troubled(**trouble):
    """Return 100,000 rows of 100 s, in chunks of 1 s, and their arrivals."""
    return all_of(Market(rate=1000, chunk_ns=SECOND_NS, trouble=Trouble(**trouble)), 100)


EVERY_TROUBLE = Trouble(
    disorder_ms=400, late_share=0.1, zero_share=0.1, bad_share=0.1, repeat_share=0.1, future_ticks=2
)


def test_the_same_seed_gives_the_same_ticks():
    market = Market(seed=5, trouble=EVERY_TROUBLE)
    first, second = SyntheticSource(market, seconds=2), SyntheticSource(market, seconds=2)
    assert [rows_of(c) for c in first] == [rows_of(c) for c in second]


def test_another_seed_gives_other_ticks():
    one, other = (SyntheticSource(Market(seed=seed), seconds=2).chunk(0).ticks for seed in (1, 2))
    assert one.ts.tolist() != other.ts.tolist()
    assert one.price.tolist() != other.price.tolist()


def test_chunks_asked_for_in_any_order_are_equal():
    market = Market(scenario="volatile", chunk_ns=30 * SECOND_NS, trouble=EVERY_TROUBLE)
    forward, backward = SyntheticSource(market, seconds=900), SyntheticSource(market, seconds=900)
    expected = [rows_of(forward.chunk(number)) for number in range(30)]
    got = {number: rows_of(backward.chunk(number)) for number in (29, 3, 17, 0, 28)}
    assert got == {number: expected[number] for number in (29, 3, 17, 0, 28)}


@pytest.mark.parametrize("seconds", [10, 60, 23_400, 30_000])
@pytest.mark.parametrize("scenario", ["normal", "opening_bell"])
def test_a_run_of_any_length_has_exactly_the_mean_rate(scenario, seconds):
    ticks, _ = all_of(Market(rate=20, scenario=scenario, chunk_ns=MINUTE_CHUNK_NS), seconds)
    assert len(ticks) == 20 * seconds


def test_an_endless_run_has_the_mean_rate_over_a_session():
    source = SyntheticSource(Market(rate=20, chunk_ns=MINUTE_CHUNK_NS), seconds=None)
    assert source.chunk_count is None
    assert sum(len(source.chunk(number).ticks) for number in range(390)) == 20 * 23_400


def test_a_last_chunk_may_be_shorter_and_none_follows():
    source = SyntheticSource(Market(rate=1000, chunk_ns=SECOND_NS), seconds=2.5)
    chunks = list(source)
    assert source.chunk_count == len(chunks) == 3
    assert chunks[-1].arrival_ns.max() < START_NS + 2_500_000_000
    assert len(source.chunk(3).ticks) == 0


def test_the_first_and_last_half_hour_are_twice_as_busy_as_midday():
    _, arrival = all_of(Market(rate=20, chunk_ns=MINUTE_CHUNK_NS), 23_400)
    half_hours = np.bincount((arrival - START_NS) // (1800 * SECOND_NS))
    assert len(half_hours) == 13
    assert half_hours[0] > 2 * half_hours[6] < half_hours[12]


def test_the_opening_bell_brings_a_rush_that_fades():
    _, arrival = all_of(Market(rate=100, scenario="opening_bell", chunk_ns=10 * SECOND_NS), 3600)
    minutes = np.bincount((arrival - START_NS) // MINUTE_CHUNK_NS)
    assert minutes[0] > 3 * minutes[15]


def test_without_trouble_ticks_are_in_order_and_arrive_at_their_own_time():
    ticks, arrival = troubled()
    assert (np.diff(ticks.ts) >= 0).all()
    assert (ticks.ts == arrival).all()
    assert ticks.ts[0] >= START_NS
    assert ticks.ts[-1] < START_NS + 100 * SECOND_NS
    assert (ticks.size > 0).all()
    assert ticks.refused == ()


def test_arrivals_never_fall_and_stay_in_their_chunk():
    source = SyntheticSource(Market(rate=1000, chunk_ns=SECOND_NS, trouble=EVERY_TROUBLE), seconds=3)
    for number, chunk in enumerate(source):
        assert (np.diff(chunk.arrival_ns) >= 0).all()
        assert chunk.arrival_ns[0] >= START_NS + number * SECOND_NS
        assert chunk.arrival_ns[-1] < START_NS + (number + 1) * SECOND_NS


@pytest.mark.parametrize("scenario", ["normal", "volatile", "crash", "rally", "opening_bell"])
def test_prices_are_positive_whole_cents(scenario):
    ticks, _ = all_of(Market(rate=20, scenario=scenario, chunk_ns=MINUTE_CHUNK_NS), 7200)
    assert ticks.price.min() >= 0.01
    assert (ticks.price == [float(f"{price:.2f}") for price in ticks.price.tolist()]).all()


def test_a_price_moves_less_than_a_percent_within_a_normal_minute():
    ticks, _ = all_of(Market(chunk_ns=MINUTE_CHUNK_NS), 60)
    for symbol in range(70):
        price = ticks.price[ticks.symbol_index == symbol]
        assert 0 < price.max() - price.min() < 0.01 * price.mean() + 0.02


def test_most_trades_are_round_lots_and_fractions_have_at_most_six_decimals():
    ticks, _ = troubled()
    assert 0.70 < (ticks.size % 100 == 0).mean() < 0.76
    fractions = ticks.size[ticks.size % 1 != 0]
    assert 0.015 < len(fractions) / len(ticks) < 0.025
    assert all(size == float(f"{size:.6f}") for size in fractions.tolist())


def test_every_symbol_trades_in_every_minute_of_the_default_market():
    source = SyntheticSource(Market(chunk_ns=MINUTE_CHUNK_NS), seconds=None)
    midday = source.chunk(195).ticks
    assert len(midday.symbols) == 70
    assert np.bincount(midday.symbol_index, minlength=70).min() >= 1


def test_symbols_have_real_names_first_and_the_first_trades_most():
    ticks, _ = all_of(Market(symbols=20_000, rate=100_000, chunk_ns=SECOND_NS), 1)
    assert ticks.symbols[:2] == ("AAPL", "MSFT")
    assert ticks.symbols[69:71] == ("VTI", "S0071")
    assert ticks.symbols[-1] == "S20000"
    assert len(set(ticks.symbols)) == 20_000
    trades = np.bincount(ticks.symbol_index)
    assert trades.argmax() == 0
    assert 1.8 < trades[0] / trades[1] < 2.2


def closes(scenario, seconds, at_s):
    """Return, for each time, the mean over the symbols of price / first price."""
    ticks, _ = all_of(Market(rate=140, scenario=scenario, chunk_ns=MINUTE_CHUNK_NS), seconds)
    order = np.argsort(ticks.ts, kind="stable")
    symbol, price, at = ticks.symbol_index[order], ticks.price[order], (ticks.ts[order] - START_NS) / 1e9
    means = []
    for until in at_s:
        of = [price[(symbol == s) & (at <= until)] for s in range(70)]
        means.append(np.mean([p[-1] / p[0] for p in of]))
    return means


def test_a_crash_falls_by_more_than_8_percent_and_recovers_partly():
    before, bottom, after = closes("crash", 3600, [290, 900, 2700])
    assert 0.98 < before < 1.02
    assert 0.80 < bottom < 0.92
    assert bottom + 0.03 < after < 0.97


def test_a_crash_fits_into_a_short_run():
    bottom, after = closes("crash", 60, [15, 60])
    assert bottom < 0.92
    assert bottom + 0.03 < after < 0.97


def test_a_rally_rises_by_more_than_8_percent():
    before, after = closes("rally", 3600, [290, 3600])
    assert 0.98 < before < 1.02
    assert 1.08 < after < 1.2


def test_a_normal_market_goes_nowhere_on_average():
    assert 0.99 < closes("normal", 3600, [3600])[0] < 1.01


def test_a_volatile_market_moves_at_least_twice_as_far_as_a_normal_one():
    ranges = {}
    for scenario in ("normal", "volatile"):
        ticks, _ = all_of(Market(rate=140, scenario=scenario, chunk_ns=MINUTE_CHUNK_NS), 3600)
        prices = [ticks.price[ticks.symbol_index == symbol] for symbol in range(70)]
        ranges[scenario] = np.mean([(p.max() - p.min()) / p[0] for p in prices])
    assert ranges["volatile"] > 2 * ranges["normal"]


def test_disorder_is_there_and_bounded():
    ticks, arrival = troubled(disorder_ms=50)
    assert 45_000_000 < np.abs(ticks.ts - arrival).max() <= 50_000_000
    assert (np.diff(ticks.ts) < 0).mean() > 0.3


def test_late_ticks_are_1_to_300_seconds_old():
    ticks, arrival = troubled(late_share=0.02)
    age_s = (arrival - ticks.ts) / SECOND_NS
    late = age_s[age_s > 0]
    assert 0.015 < len(late) / len(ticks) < 0.025
    assert late.min() >= 1
    assert 250 < late.max() <= 300


def test_zero_sizes_have_their_share():
    ticks, _ = troubled(zero_share=0.05)
    assert 0.045 < (ticks.size == 0).mean() < 0.055


def test_repeats_are_alike_in_every_field_and_have_their_share():
    ticks, _ = troubled(repeat_share=0.03)
    alike = np.ones(len(ticks) - 1, bool)
    for column in (ticks.symbol_index, ticks.ts, ticks.price, ticks.size):
        alike &= column[1:] == column[:-1]
    assert len(ticks) == 100_000
    assert 0.025 < alike.mean() < 0.035


def test_bad_ticks_take_their_share_of_the_rate():
    ticks, _ = troubled(bad_share=0.04)
    assert len(ticks) + len(ticks.refused) == 100_000
    assert 3_500 < len(ticks.refused) < 4_500
    assert {r.reason for r in ticks.refused} == {"not_json", "symbol", "price", "size", "timestamp"} < set(REASONS)


@pytest.mark.parametrize(
    ("original", "reason"),
    [
        (b'"price":NaN', "not_json"),
        (b'"price":101,25', "not_json"),
        (b'"price":"NaN"', "price"),
        (b'"price":0,', "price"),
        (b'"price":-101.25', "price"),
        (b'"symbol":""', "symbol"),
        (b'"symbol":"A SYMBOL LONGER THAN 20"', "symbol"),
        (b'{"type":"market_tick","price"', "symbol"),
        (b'"volume":-100', "size"),
        (b'"volume":"many"', "size"),
        (b'"timestamp":"yesterday"', "timestamp"),
        (b'"timestamp":5000000000', "timestamp"),
    ],
)
def test_a_bad_original_is_refused_by_the_parser_for_its_true_reason(original, reason):
    ticks, _ = all_of(Market(rate=500, trouble=Trouble(bad_share=0.5)), 1)
    refused = [r for r in ticks.refused if original in r.original]
    assert {r.reason for r in refused} == {reason}
    parsed = parse_json(refused[0].original)
    assert len(parsed) == 0
    assert list(parsed.refused) == [refused[0]]


def test_future_ticks_come_in_the_first_chunk_beside_the_others():
    source = SyntheticSource(Market(rate=10, chunk_ns=SECOND_NS, trouble=Trouble(future_ticks=3)), seconds=10)
    first, *others = list(source)
    is_future = first.ticks.ts > START_NS + 365 * 86_400 * SECOND_NS
    assert is_future.sum() == 3
    assert (first.ticks.size[is_future] > 0).all()
    assert len(first.ticks) + sum(len(c.ticks) for c in others) == 103
    assert all(c.ticks.ts.max() < START_NS + 10 * SECOND_NS for c in others)


def test_a_description_names_every_option_once():
    line = SyntheticSource(Market(seed=3, trouble=Trouble(late_share=0.5)), seconds=60).describe()
    assert line == (
        "synthetic version=1 bad_share=0 chunk_ns=100000000 disorder_ms=0 future_ticks=0 late_share=0.5 rate=500 "
        "repeat_share=0 scenario=normal seconds=60 seed=3 start_ns=1748871000000000000 symbols=70 zero_share=0"
    )


def test_a_description_does_not_depend_on_how_a_number_was_written():
    whole = SyntheticSource(Market(rate=500, trouble=Trouble(zero_share=0)), seconds=60)
    assert whole.describe() == SyntheticSource(Market(), seconds=60.0).describe()


@pytest.mark.parametrize(
    "options", [{"scenario": "boom"}, {"symbols": 0}, {"symbols": 20_001}, {"rate": 0}, {"seed": -1}, {"start_ns": 0}]
)
def test_a_market_that_cannot_be_is_refused(options):
    with pytest.raises(UsageError):
        Market(**options)


@pytest.mark.parametrize("options", [{"late_share": 1.5}, {"bad_share": -0.1}, {"disorder_ms": -1}])
def test_trouble_that_cannot_be_is_refused(options):
    with pytest.raises(UsageError):
        Trouble(**options)


def test_seconds_of_rows_are_when_so_many_have_arrived():
    source = SyntheticSource(Market(rate=100, chunk_ns=SECOND_NS), seconds=None)
    assert source.seconds_of(0) == pytest.approx(0, abs=0.01)
    arrived = sum(len(source.chunk(number).ticks) for number in range(90))
    assert source.seconds_of(arrived) == pytest.approx(90, abs=0.02)


def test_in_a_lively_market_every_fifth_symbol_ends_each_minute_where_it_began():
    ticks, _ = all_of(Market(rate=500, scenario="lively", chunk_ns=MINUTE_CHUNK_NS), 180)
    for symbol in (2, 7, 12, 67):
        for minute in range(3):
            rows = (ticks.symbol_index == symbol) & ((ticks.ts - START_NS) // MINUTE_CHUNK_NS == minute)
            prices = ticks.price[rows][np.argsort(ticks.ts[rows])]
            assert np.ptp(prices) > 0.004 * prices[0]
            assert abs(prices[-1] - prices[0]) <= 0.1 * np.ptp(prices)


def test_a_lively_market_leaves_the_other_symbols_as_they_are():
    one = all_of(Market(rate=50, scenario="lively", chunk_ns=MINUTE_CHUNK_NS), 120)[0]
    assert len(one) == 6000
    other = SyntheticSource(Market(rate=50, scenario="normal", chunk_ns=MINUTE_CHUNK_NS), seconds=120)
    normal = concat([chunk.ticks for chunk in other])
    assert one.price[one.symbol_index == 0].tolist() == normal.price[normal.symbol_index == 0].tolist()
