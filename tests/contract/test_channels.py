"""What goes out on the documented channels, held against the samples that were written from the contract by hand."""

import ast
import json
from pathlib import Path

import msgspec
import pytest
import tickstockpl
from tickstockpl.contracts.accepted.acceptance import first_violation
from tickstockpl.contracts.detection import Detection, IndicatorAlert, IndicatorValue, Part, flow_id_of
from tickstockpl.contracts.messages.message_list import CHANNELS
from tickstockpl.contracts.messages.pattern_messages import alert_message, indicator_message, pattern_messages
from tickstockpl.contracts.messages.processing_messages import phase_progress
from tickstockpl.contracts.messages.system_messages import backtest_results

DOCUMENTED = [
    "tickstock.events.patterns",
    "tickstock:patterns:streaming",
    "tickstock:patterns:detected",
    "tickstock:indicators:streaming",
    "tickstock:alerts:indicators",
    "tickstock:streaming:session_started",
    "tickstock:streaming:session_stopped",
    "tickstock:streaming:health",
    "tickstock.health.status",
    "tickstock:alerts:critical",
    "tickstock:errors",
    "tickstock:monitoring",
    "tickstock.events.backtesting.progress",
    "tickstock.events.backtesting.results",
    "tickstock:processing:status",
    "tickstock:processing:schedule",
    "tickstock:import:started",
    "tickstock:import:progress",
    "tickstock:import:completed",
    "tickstock:cache:started",
    "tickstock:cache:progress",
    "tickstock:cache:completed",
    "tickstock:indicators:started",
    "tickstock:indicators:progress",
    "tickstock:indicators:completed",
    "tickstock:indicators:calculated",
    "tickstock:patterns:started",
    "tickstock:patterns:progress",
    "tickstock:patterns:completed",
]


def detection(**changed):
    known = {
        "symbol": "AAPL",
        "pattern": "Doji",
        "timeframe": "1min",
        "minute": 29_395_590,
        "confidence": 0.5,
        "direction": 0,
        "open": 185.48,
        "high": 185.9,
        "low": 185.1,
        "close": 185.5,
        "volume": 1000.0,
        "detected_at": 1_763_735_460.25,
    }
    return Detection(**{**known, **changed})


def value(**changed):
    known = {
        "symbol": "AAPL",
        "indicator": "RSI",
        "timeframe": "1min",
        "minute": 29_395_590,
        "value": 72.5,
        "values": {"rsi_14": 72.5},
        "period": 14,
        "calculated_at": 1_763_735_460.25,
    }
    return IndicatorValue(**{**known, **changed})


def said_of(found, *, result_id="3-1042"):
    return {name: json.loads(body) for name, body in pattern_messages(found, session_id="s", result_id=result_id)}


def test_each_message_is_its_sample_byte_for_byte(sample, made):
    written = json.dumps(sample.message, separators=(",", ":"), ensure_ascii=False)
    assert made[sample.channel, sample.kind].decode() == written


def test_every_message_has_a_sample(made, samples):
    assert {(s.channel, s.kind) for s in samples} == set(made)


def test_every_documented_channel_has_a_sample_and_no_other(samples):
    assert {s.channel for s in samples} == set(DOCUMENTED) == set(CHANNELS)


def test_every_message_is_said_by_somebody():
    root = Path(tickstockpl.__file__).parent
    makers = {name for path in (root / "contracts").rglob("*_messages.py") for name in functions_of(path)}
    assert makers - names_imported_by("workers", "ops", "db", "producer") == set()


def functions_of(path):
    """Return the names of a module's public functions: each of them makes a message."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name for name in names if not name.startswith("_")}


def names_imported_by(*folders):
    """Return every name that the sources in `folders` import from the messages' modules."""
    root = Path(tickstockpl.__file__).parent
    return {
        alias.name
        for folder in folders
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("_messages")
        for alias in node.names
    }


@pytest.mark.parametrize(("confidence", "times"), [(0.7999, 2), (0.8, 3), (1.0, 3)])
def test_a_detection_is_said_as_detected_from_a_confidence_of_0_8(confidence, times):
    messages = pattern_messages(detection(confidence=confidence), session_id="s", result_id="3-1")
    assert [name for name, _ in messages] == [
        "tickstock.events.patterns",
        "tickstock:patterns:streaming",
        "tickstock:patterns:detected",
    ][:times]


def test_a_detection_without_a_result_has_a_null_result_id():
    for message in said_of(detection(), result_id=None).values():
        assert message["result_id"] is None


def test_the_tier_is_repeated_as_the_source():
    data = said_of(detection(tier="daily"))["tickstock.events.patterns"]["data"]
    assert (data["tier"], data["source"]) == ("daily", "daily")


def test_a_fractional_volume_stays_a_fraction_and_a_whole_one_is_whole():
    assert b'"volume":0.25,' in pattern_messages(detection(volume=0.25), session_id="s", result_id="1-1")[0][1]
    assert b'"volume":3000000000,' in pattern_messages(detection(volume=3e9), session_id="s", result_id="1-1")[0][1]


def test_relative_figures_and_the_change_come_from_the_detection():
    data = said_of(detection(price_change=-1.25, relative_strength=2.5, relative_volume=7.5))[
        "tickstock.events.patterns"
    ]["data"]
    assert data["price_change"] == -1.25
    assert data["indicators"] == {"relative_strength": 2.5, "relative_volume": 7.5}


def test_a_symbol_may_hold_any_printable_text():
    for message in said_of(detection(symbol='BRK.B "é" 日本\\')).values():
        assert (message.get("data") or message["detection"])["symbol"] == 'BRK.B "é" 日本\\'


@pytest.mark.parametrize(
    "field",
    [
        "open",
        "high",
        "low",
        "close",
        "volume",
        "detected_at",
        "price_change",
        "confidence",
        "relative_volume",
        "relative_strength",
    ],
)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_detection_with_a_number_that_json_cannot_hold_is_refused(field, number):
    with pytest.raises(ValueError, match=r"finite|0\.\.1"):
        pattern_messages(detection(**{field: number}), session_id="s", result_id="1-1")


def test_a_parameter_that_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="finite"):
        pattern_messages(detection(parameters={"ratio": float("nan")}), session_id="s", result_id="1-1")


@pytest.mark.parametrize("confidence", [-0.001, 1.001])
def test_a_confidence_outside_its_range_is_refused(confidence):
    with pytest.raises(ValueError, match=r"0\.\.1"):
        pattern_messages(detection(confidence=confidence), session_id="s", result_id="1-1")


def test_an_indicator_without_a_period_says_null():
    _, body = indicator_message(value(period=None), session_id="s", result_id="1-1")
    assert json.loads(body)["calculation"]["metadata"] == {"period": None}


def test_an_indicator_of_several_outputs_says_all_of_them():
    outputs = {"macd": 1.5, "macd_signal": 1.25, "macd_histogram": 0.25}
    _, body = indicator_message(value(indicator="MACD", value=1.5, values=outputs), session_id="s", result_id="1-1")
    assert json.loads(body)["calculation"]["values"] == outputs


def test_an_indicator_of_a_higher_timeframe_has_it_in_its_name():
    # The application keeps the last message of each symbol and indicator: the minute's must stay.
    _, body = indicator_message(value(indicator="SMA_5", timeframe="5min"), session_id="s", result_id="1-1")
    said = json.loads(body)["calculation"]
    assert (said["indicator"], said["indicator_type"], said["timeframe"]) == ("SMA_5_5min", "SMA_5_5min", "5min")


@pytest.mark.parametrize("changed", [{"value": float("nan")}, {"values": {"rsi_14": float("inf")}}])
def test_an_indicator_that_json_cannot_hold_is_refused(changed):
    with pytest.raises(ValueError, match="finite"):
        indicator_message(value(**changed), session_id="s", result_id="1-1")


def test_an_alert_of_another_indicator_says_null_for_rsi():
    crossing = IndicatorAlert(
        symbol="AAPL",
        alert_type="MACD_BULLISH_CROSS",
        indicator="MACD",
        timeframe="1min",
        minute=29_395_590,
        value=0.01,
        threshold=0.0,
        severity="info",
        raised_at=1_763_735_460.25,
    )
    _, body = alert_message(crossing, session_id="s", result_id="1-1")
    assert json.loads(body)["data"] == {"rsi": None, "indicator": "MACD", "value": 0.01, "threshold": 0.0}


def test_every_progress_is_said_of_the_run_too():
    for phase in ("import", "cache_sync", "indicators", "patterns"):
        messages = phase_progress(
            phase, now_s=0.0, run_id="r", completed_symbols=1, total_symbols=4, current_symbol="A", eta_seconds=None
        )
        last_channel, body = messages[-1]
        assert last_channel == "tickstock:processing:status"
        assert json.loads(body)["event"] == "daily_processing_progress"
        assert json.loads(body)["payload"]["progress"] == 25.0


def test_free_figures_that_json_cannot_hold_are_refused_at_any_depth():
    with pytest.raises(ValueError, match="finite"):
        backtest_results(now_s=0.0, job_id="j", status="failed", results={"trades": [{"gain": float("nan")}]})


def test_a_body_is_one_json_object_that_ends_with_its_brace(made):
    for body in made.values():
        assert isinstance(msgspec.json.decode(body), dict)
        assert body.startswith(b"{")
        assert body.endswith(b"}")


def test_a_message_names_the_other_patterns_on_its_bar_in_both_places():
    part = {"pattern": "Volume_Spike", "confidence": 0.9, "direction": 1, "levels": [10.5]}
    found = detection(pattern="Price_Breakout", parts=[Part(**part)])
    session = "0b6a3c1e-7d52-4f0a-9a6e-2f1d8c4b5e90"
    messages = pattern_messages(found, session_id=session, result_id="3-1042")
    said = {channel: json.loads(body) for channel, body in messages}
    named = [part | {"flow_id": str(flow_id_of("AAPL", "Volume_Spike", "1min", 29_395_590))}]
    assert said["tickstock.events.patterns"]["data"]["parts"] == named
    assert said["tickstock:patterns:streaming"]["detection"]["metadata"]["parts"] == named
    for channel, message in said.items():
        assert first_violation(channel, message | {"epoch": 1, "seq": 1}) is None


@pytest.mark.parametrize("wrong", [{"confidence": 1.1}, {"levels": [float("nan")]}])
def test_a_part_that_cannot_be_told_is_refused(wrong):
    part = {"pattern": "Volume_Spike", "confidence": 0.9, "direction": 1, "levels": []} | wrong
    with pytest.raises(ValueError, match=r"confidence|finite"):
        pattern_messages(detection(parts=[Part(**part)]), session_id="s", result_id=None)


NEWER = ("repeat_after", "parts", "part_of")


def test_a_result_of_an_older_worker_has_no_parts():
    older = msgspec.json.encode({k: v for k, v in msgspec.to_builtins(detection()).items() if k not in NEWER})
    found = msgspec.json.decode(older, type=Detection)
    assert (found.parts, found.event) == ([], "first")
