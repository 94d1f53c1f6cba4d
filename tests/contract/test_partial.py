"""What is told of a partial bar says so, in a key that no other message has."""

import json

import pytest
from tickstockpl.contracts.accepted.acceptance import first_violation
from tickstockpl.contracts.detection import Detection, IndicatorAlert, IndicatorValue
from tickstockpl.contracts.messages.pattern_messages import alert_message, indicator_message, pattern_messages

SESSION = "6f1b2c1e-2f61-4a63-9f2c-3a3f0b8f8f11"
ON = {"symbol": "AAPL", "timeframe": "1min", "minute": 29_394_900}
PRICES = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.0, "volume": 100.0}


def told(*, partial):
    """Return one message of each kind that a result of a bar gives, by channel."""
    detection = Detection(
        **ON, **PRICES, pattern="Doji", confidence=0.9, direction=0, detected_at=1_763_735_460.0, partial=partial
    )
    value = IndicatorValue(
        **ON, indicator="RSI", value=50.0, values={"rsi_14": 50.0}, period=14, calculated_at=1_763_735_460.0,
        partial=partial,
    )  # fmt: skip
    alert = IndicatorAlert(
        **ON, alert_type="RSI_OVERBOUGHT", indicator="RSI", value=72.5, threshold=70.0, severity="warning",
        raised_at=1_763_735_460.0, rsi=72.5, partial=partial,
    )  # fmt: skip
    said = [
        *pattern_messages(detection, session_id=SESSION, result_id="0-1"),
        indicator_message(value, session_id=SESSION, result_id="0-1"),
        alert_message(alert, session_id=SESSION, result_id="0-1"),
    ]
    return {channel: json.loads(body) for channel, body in said}


PLACES = {
    "tickstock.events.patterns": ("data",),
    "tickstock:patterns:streaming": ("detection", "metadata"),
    "tickstock:patterns:detected": ("detection", "metadata"),
    "tickstock:indicators:streaming": ("calculation", "metadata"),
    "tickstock:alerts:indicators": ("data",),
}


def place_of(channel, message):
    """Return the object of a message that says what its bar is."""
    for key in PLACES[channel]:
        message = message[key]
    return message


@pytest.mark.parametrize("channel", PLACES)
def test_a_result_of_a_partial_bar_says_so_and_of_a_whole_one_nothing(channel):
    partial, whole = told(partial=True)[channel], told(partial=False)[channel]
    assert first_violation(channel, partial | {"epoch": 1, "seq": 1}) is None
    assert first_violation(channel, whole | {"epoch": 1, "seq": 1}) is None

    assert place_of(channel, partial).pop("bar_provenance") == "partial"
    assert partial == whole


@pytest.mark.parametrize("channel", PLACES)
def test_another_provenance_is_none_of_the_contract(channel):
    message = told(partial=True)[channel]
    place_of(channel, message)["bar_provenance"] = "perhaps"
    assert "bar_provenance" in first_violation(channel, message | {"epoch": 1, "seq": 1})
