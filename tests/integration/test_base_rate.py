"""What was measured of a pattern goes the whole way: a flat file, workers, PostgreSQL, the outbox."""

import json

import pytest
from tickstockpl.db import postgres
from tickstockpl.workers.detect.definitions import seed_definitions
from tickstockpl.workers.detect.patterns import base_rates

from .test_detection import replay, rows, told, walk, write


@pytest.fixture
def seeded(migrated_servers):
    """Give servers whose definitions are there, as after `tickstock migrate`."""
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        seed_definitions(connection)
    return migrated_servers


def shipped():
    file = json.loads((base_rates.resources.files(base_rates.__package__) / base_rates.FILE).read_text())
    return {
        (rate["pattern"], rate["timeframe"], rate["direction"]): {
            **{name: rate[name] for name in ("hits", "of", "expected", "days")},
            "after_bars": file["after_bars"],
        }
        for rate in file["rates"]
    }


def test_a_detection_s_row_and_message_say_what_was_measured_of_its_like(tickstock, seeded, tmp_path):
    rates = shipped()
    replay(tickstock, seeded, write(tmp_path / "day.csv", walk(11)), "--publish")
    stored = rows(
        seeded,
        "SELECT pattern_type, timeframe, (pattern_data ->> 'direction')::int, metadata -> 'base_rate'"
        " FROM intraday_patterns",
    )
    assert all(rate == rates.get((pattern, timeframe, way)) for pattern, timeframe, way, rate in stored)
    assert len({rate["of"] for *_, rate in stored if rate}) > 2
    said = [(m["pattern"], m["timeframe"], m["direction"], m["base_rate"]) for m in told(seeded, "patterns")]
    assert all(rate == rates.get((pattern, timeframe, way)) for pattern, timeframe, way, rate in said)
    assert any(rate for *_, rate in said)
