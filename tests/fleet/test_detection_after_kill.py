"""A worker killed in the middle: what is found on the bars is, bit for bit, what an undisturbed worker finds."""

import random
import signal
from pathlib import Path

import pytest
from tickstockpl.db import postgres
from tickstockpl.workers.detect.definitions import seed_definitions

from .fleet import fleet_on, wait_for

KILLED_WORKER = Path(__file__).with_name("killed_worker.py")
OPTIONS = ("--commit-ms", "1", "--read-count", "1")  # a commit for each read
OPENING_S = 1_381_152_600  # 2013-10-07 13:30 UTC
SYMBOLS = ("AIG", "BAC", "IBM", "SPY", "BRK.B")
MINUTES = 120

INDICATORS = (
    "SELECT symbol, indicator_type, timeframe, calculation_timestamp, value, value_data, expiration_timestamp, metadata"
    " FROM intraday_indicators ORDER BY 1, 2, 3, 4"
)
PATTERNS = (
    "SELECT symbol, pattern_type, timeframe, detection_timestamp, confidence, pattern_data, expiration_timestamp,"
    " levels, metadata FROM intraday_patterns ORDER BY 1, 2, 3, 4"
)
# Without the dollars: a float sum in the order of arrival, whose last bits depend on how the stream was split.
HIGHER_BARS = (
    "SELECT symbol, timeframe, minute, open, high, low, close, volume_micro FROM recent_higher_bar ORDER BY 1, 2, 3"
)
FLOWS = "SELECT flow_id, superseded_at FROM detection_flow ORDER BY 1"
EVENTS = "SELECT flow_id, symbol, pattern_name, confidence FROM integration_events ORDER BY 1"
FOUND = (INDICATORS, PATTERNS, HIGHER_BARS, FLOWS, EVENTS)


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Write two hours of a random walk in fractions of a cent; some minutes of a symbol have no trade. Seeded."""
    numbers = random.Random(11)
    prices = {symbol: 40.0 + 15 * i for i, symbol in enumerate(SYMBOLS)}
    file = tmp_path_factory.mktemp("walk") / "walk.csv"
    with file.open("w") as out:
        out.write("ticker,price,sip_timestamp,size\n")
        for second in range(MINUTES * 60):
            symbol = numbers.choice(SYMBOLS)
            if numbers.random() < 0.3:
                prices[symbol] = round(prices[symbol] + numbers.gauss(0, 0.05), 4)
                out.write(f"{symbol},{prices[symbol]},{(OPENING_S + second) * 10**9},{numbers.choice([1, 2.5, 300])}\n")
    return file


def prepare(fleet):
    """Switch every indicator on: each keeps something else of the bars before; and let more bars be candlesticks."""
    with postgres.connect(fleet.servers.database_url, name="test") as connection:
        seed_definitions(connection)
        connection.execute("UPDATE indicator_definitions SET enabled = true")
        anywhere = '{"min_move": 0, "min_atr": 0, "min_ticks": 0}'
        connection.execute(
            "UPDATE pattern_definitions SET parameters = %s WHERE name IN ('Doji', 'Hammer')", [anywhere]
        )


def found(fleet):
    """Wait until no bar waits for its detectors; return what was found, without ids."""
    wait_for(lambda: fleet.unacked_of_all() == 0, 90, "the last acks")
    waits = "SELECT sum(undetected) FROM checkpoint"
    wait_for(lambda: fleet.rows(waits) == [(0,)], 90, lambda: f"the detectors\n{fleet.logs()}")
    return [fleet.rows(statement) for statement in FOUND]


@pytest.fixture(scope="module")
def undisturbed(module_servers, tmp_path_factory, walk):
    """Return what one worker finds that nobody disturbs, with large commits."""
    with fleet_on(module_servers, tmp_path_factory.mktemp("undisturbed"), partitions=2) as fleet:
        prepare(fleet)
        fleet.start_replay("producer", [walk], "--publish")
        fleet.start_worker("worker")
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        indicators, patterns, *others = found(fleet)
    assert len(indicators) > 2_000
    assert len(patterns) > 20
    return [indicators, patterns, *others]


def assert_same(fleet, undisturbed):
    for here, there in zip(found(fleet), undisturbed, strict=True):
        assert sorted(set(map(str, here)) ^ set(map(str, there)))[:4] == [], fleet.logs()
        assert here == there


# Bars are staged less than four times here; the commits without bars come on top.
@pytest.mark.parametrize(
    ("step", "when"),
    [("stage", "2"), ("commit", "2"), ("commit", "end"), ("tell", "2")]
    + [
        pytest.param(*at, marks=pytest.mark.slow)
        for at in (("stage", "end"), ("ack", "2"), ("ack", "end"), ("tell", "end"))
    ],
)
def test_a_worker_killed_after_a_step_finds_what_an_undisturbed_one_finds(
    undisturbed, migrated_servers, tmp_path, walk, step, when
):
    with fleet_on(migrated_servers, tmp_path, partitions=2) as fleet:
        prepare(fleet)
        fleet.start_replay("producer", [walk], "--publish")
        fleet.start("killed", step, when, "--", "--consumer", "killed", *OPTIONS, program=KILLED_WORKER)
        assert fleet.processes["killed"].wait(120) == -signal.SIGKILL, fleet.logs()
        fleet.end_leases_of("killed")
        fleet.start_worker("next", *OPTIONS)
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_same(fleet, undisturbed)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_workers_killed_at_random_moments_find_what_an_undisturbed_one_finds(
    undisturbed, migrated_servers, tmp_path, walk, seed
):
    numbers = random.Random(seed)
    moments = sorted(numbers.randrange(len(undisturbed[0]) - 300) for _ in range(3))
    with fleet_on(migrated_servers, tmp_path, partitions=2) as fleet:
        prepare(fleet)
        fleet.start_replay("producer", [walk], "--publish", "--speed", "2000")
        for i, moment in enumerate(moments):
            fleet.start_worker(f"killed-{i}", *OPTIONS)
            count = "SELECT count(*) >= %s FROM intraday_indicators"
            wait_for(lambda: fleet.rows(count, moment) == [(True,)], 90, lambda: f"{moment} values\n{fleet.logs()}")  # noqa: B023  # called here
            fleet.kill(f"killed-{i}")
            fleet.end_leases_of(f"killed-{i}")
        fleet.start_worker("last", *OPTIONS)
        assert fleet.exit_code("producer", 120) == 0, fleet.logs()
        assert_same(fleet, undisturbed)
