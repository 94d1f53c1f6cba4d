"""What a client of /events hears of each result."""

import json

import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.ops.api.live.event_hub import Event
from tickstockpl.ops.api.live.wanted import wanted_of


def heard(wanted, kind, body):
    data = wanted.data_of(Event(0, 1, kind, json.dumps(body).encode()))
    return None if data is None else json.loads(data)


def test_of_a_symbol_a_client_hears_its_own_part_of_each_result():
    wanted = wanted_of(None, "A")
    bars = {"feed": "live", "bars": [{"symbol": "A", "close": 0.1}, {"symbol": "AB", "close": 2}]}
    assert heard(wanted, "bars", bars) == {"feed": "live", "bars": [{"symbol": "A", "close": 0.1}]}
    assert heard(wanted, "patterns", [{"symbol": "B"}, {"symbol": "A"}]) == [{"symbol": "A"}]
    assert heard(wanted, "patterns", [{"symbol": "AB"}]) is None
    assert heard(wanted, "alerts", [{"symbol": "B", "alert_type": "A"}]) is None  # the text is there, the symbol is not
    assert heard(wanted, "run", {"event": "processing_started"}) == {"event": "processing_started"}


def test_kinds_that_nobody_asked_for_are_not_heard():
    wanted = wanted_of("patterns, run", None)
    assert heard(wanted, "bars", {"feed": "live", "bars": []}) is None
    assert heard(wanted, "patterns", []) == []


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="no kind 'bar' of event; there are: bars, patterns, indicators, alerts, run"):
        wanted_of("bar", None)
