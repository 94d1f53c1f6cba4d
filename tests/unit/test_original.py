"""What a dead letter holds of a tick, whatever the tick said of itself."""

import json

import pytest
from tickstockpl.contracts.spellings.original import originals
from tickstockpl.contracts.spellings.tick_json import parse_entries, parse_json
from tickstockpl.contracts.spellings.tick_values import TickRow, ticks_of_rows
from tickstockpl.workers.partition.undo import TRIMMED, refused_undo, undos_of

TS = 1_700_000_000 * 10**9


def noted(note):
    return ticks_of_rows([TickRow("A", TS, 1.0, 2.0, note=note)])


def test_a_cancel_with_an_id_that_is_no_utf_8_is_told_so_that_it_can_be_sent_again():
    said = b"type cancel symbol A exchange 4 timestamp 1700000000 trade_id x\xed\xa0\x80y"
    ticks = parse_entries([((1_700_000_000_000 << 20) + 5, said.split())])
    (undo,) = undos_of(ticks)
    original = refused_undo(undo, int(ticks.ts[0]), TRIMMED).original
    assert json.loads(original)["trade_id"] == "x\udced\udca0\udc80y"
    (again,) = undos_of(parse_json(original))
    assert again.trade_key == undo.trade_key


@pytest.mark.parametrize(
    "note",
    [
        "no json",
        "[1]",
        "7",
        '{"type": "cancel"}',
        "[" * 4000,
        '{"trade_id": {"a": 1}}',
        '{"trade_id":' + "[" * 900 + "]" * 900 + "}",
    ],
)
def test_a_note_that_no_program_of_ours_wrote_is_told_as_it_is(note):
    (original,) = originals(noted(note))
    assert json.loads(original) == {"symbol": "A", "price": 1.0, "volume": 2.0, "timestamp": TS, "note": note}


@pytest.mark.parametrize(
    "note", ['{"trade_id": "\\ud800"}', '{"trade_id": 1' + "0" * 40 + "}", '{"conditions": [1, "T"]}']
)
def test_a_note_of_ours_is_told_by_its_names(note):
    (original,) = originals(noted(note))
    assert json.loads(original).items() >= json.loads(note).items()
