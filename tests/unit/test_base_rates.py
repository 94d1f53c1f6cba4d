"""What was measured of a pattern goes with each detection of the rule that it was measured of, and with no other."""

import json

import msgspec
import numpy as np
import pytest
from tickstockpl.contracts.accepted.acceptance import first_violation
from tickstockpl.contracts.detection import BaseRate, Detection
from tickstockpl.contracts.messages.pattern_messages import pattern_messages
from tickstockpl.db.tables.detections import _row
from tickstockpl.ops.measure.aftermath import HIT_AFTER
from tickstockpl.workers.detect import detections
from tickstockpl.workers.detect.definition import Definitions
from tickstockpl.workers.detect.definitions import pattern_definition
from tickstockpl.workers.detect.detector import COMPLETE, Detector
from tickstockpl.workers.detect.find_patterns import find_patterns
from tickstockpl.workers.detect.patterns import base_rates
from tickstockpl.workers.detect.patterns.base_rates import BaseRates, MeasuredRate, MeasuredRule, RatesOf
from tickstockpl.workers.detect.patterns.registry import PATTERNS as KINDS
from tickstockpl.workers.history import CLOSED_DTYPE
from tickstockpl.workers.marks import MARK_DTYPE, NEW, PATTERNS

MINUTE = 23_019_210  # 2013-10-07 13:30 UTC
RATE = BaseRate(hits=3, of=9, expected=4.1, after_bars=20, days=2)
SPIKE = dict(KINDS["Volume_Spike"].parameters)
MEASURED = RatesOf(
    BaseRates(
        days={"1min": "A: 2013-10-07, 2013-10-08"},
        hit="",
        after_bars=20,
        rules={"Volume_Spike": MeasuredRule(threshold=0.6, parameters=SPIKE)},
        rates=[MeasuredRate(pattern="Volume_Spike", timeframe="1min", direction=1, hits=3, of=9, expected=4.1, days=2)],
    )
)


def test_a_rate_is_found_for_the_very_rule_that_was_measured():
    assert MEASURED.find("Volume_Spike", "1min", 1, 0.7, SPIKE) == RATE


@pytest.mark.parametrize(
    "asked",
    [
        ("Volume_Spike", "1min", -1, 0.7, SPIKE),
        ("Volume_Spike", "5min", 1, 0.7, SPIKE),
        ("Doji", "1min", 1, 0.7, SPIKE),
        ("Volume_Spike", "1min", 1, 0.5, SPIKE),
        ("Volume_Spike", "1min", 1, 0.7, {**SPIKE, "ratio": 3.5}),
    ],
)
def test_no_other_direction_timeframe_pattern_confidence_or_parameter_has_it(asked):
    assert MEASURED.find(*asked) is None


@pytest.fixture
def as_measured(monkeypatch):
    monkeypatch.setattr(detections, "shipped_rates", lambda: MEASURED)


def found_spike(parameters=None):
    """Find a spike on the last of 22 bars: a bar of 20 times the usual volume."""
    bars = np.zeros(22, CLOSED_DTYPE)
    bars["minute"] = MINUTE + np.arange(22)
    bars["open"], bars["high"], bars["low"], bars["close"] = 10.0, 10.2, 9.9, 10.1
    bars["volume_micro"] = [1e8] * 21 + [2e9]
    detector = Detector(["A"])
    detector.set_reach(0, COMPLETE)
    detector.absorb(bars, np.zeros(22, bool), publish=True)
    wanted = Definitions([pattern_definition("Volume_Spike", None, None, parameters)])
    mark = np.array([(0, 1, MINUTE + 21, NEW, PATTERNS, True)], MARK_DTYPE)
    (found,) = find_patterns([(detector, mark)], wanted, 1_381_154_000.0)[0].detections
    return found


@pytest.mark.usefixtures("as_measured")
def test_a_detection_carries_its_rate_into_message_and_row():
    found = found_spike()
    said = {"hits": 3, "of": 9, "expected": 4.1, "after_bars": 20, "days": 2}
    for channel, body in pattern_messages(found, session_id=str(found.flow_id), result_id="0-1"):
        message = json.loads(body) | {"epoch": 1, "seq": 1}
        assert first_violation(channel, message) is None
        if "detection" in message:
            assert message["detection"]["metadata"]["base_rate"] == said
    assert _row(found)["metadata"]["base_rate"] == RATE


@pytest.mark.usefixtures("as_measured")
def test_a_detection_of_another_rule_says_that_nobody_measured_it():
    found = found_spike({"ratio": 2.0})
    assert found.base_rate is None
    (_, body), *_ = pattern_messages(found, session_id=str(found.flow_id), result_id="0-1")[1:]
    assert json.loads(body)["detection"]["metadata"]["base_rate"] is None


def test_a_detection_of_an_older_worker_is_read():
    said = json.loads(msgspec.json.encode(found_spike()))
    del said["base_rate"]
    assert msgspec.json.decode(json.dumps(said), type=Detection).base_rate is None


def test_what_ships_was_measured_of_the_rules_that_are_the_defaults():
    """After a rule or a threshold has changed: measure again (docs/patterns.md has the command)."""
    file = json.loads((base_rates.resources.files(base_rates.__package__) / base_rates.FILE).read_text())
    assert file["after_bars"] == HIT_AFTER
    assert {rate["pattern"] for rate in file["rates"]} == file["rules"].keys()
    for name, rule in file["rules"].items():
        assert (rule["threshold"], rule["parameters"]) == (KINDS[name].threshold, dict(KINDS[name].parameters)), name
