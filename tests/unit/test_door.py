import pytest
from tickstockpl.contracts.door import MARK, Numbered, is_numbered, number_entries, refused_mark, spelled
from tickstockpl.contracts.partition import Position

NOW = 1_760_000_000_000
TICK = [b"symbol", b"A", b"price", b"1", b"volume", b"1"]


def numbered(*ids, most_ms=NOW):
    return number_entries([(entry_id.encode(), TICK) for entry_id in ids], most_ms)


def test_an_id_is_its_number():
    found = numbered(f"{NOW}-0", f"{NOW}-1")
    assert [number for number, _ in found.entries] == [NOW << 20, (NOW << 20) + 1]
    assert (found.bytes, found.is_whole) == (40, True)


@pytest.mark.parametrize(
    "bad",
    [
        f"{NOW + 1}-0",
        f"{NOW}-1048576",
        f"{NOW * 1000}-0",
        f"{2**43}-0",
        "18446744073709551615-18446744073709551615",
    ],
)
def test_numbers_end_before_the_first_id_that_is_none(bad):
    found = numbered(f"{NOW - 1}-0", bad, f"{2**63}-5")
    assert [number for number, _ in found.entries] == [(NOW - 1) << 20]
    assert not found.is_whole
    assert not is_numbered(Position.parse(bad), NOW)


def test_the_largest_id_that_is_a_number():
    last = Position(2**43 - 1, 2**20 - 1)
    assert is_numbered(last, 2**43)
    assert numbered(str(last), most_ms=2**43).entries[0][0] == 2**63 - 1


def test_json_weighs_its_bytes_and_plain_fields_are_one_row_at_most():
    found = number_entries([(b"1-0", [b"data", b"x" * 1000]), (b"1-1", [*TICK, b"note", b"y" * 1000])], NOW)
    assert found.weights == [1004, 24]


def test_no_entries_are_whole():
    assert number_entries([], NOW) == Numbered([], [], 0, 0, is_whole=True)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ([b"symbol", b"A", b"price", b"1"], b"symbol A price 1"),
        ([b"data", b'{"symbol":"A"}'], b'{"symbol":"A"}'),
        ([], b""),
        ([b"data", b"x" * 70_000], b"x" * 65_536),
    ],
)
def test_what_is_kept_of_a_refused_entry_can_be_sent_again(fields, kept):
    assert spelled(fields) == kept
    assert refused_mark(7, [MARK, b"9-9", *fields]).original == kept


def test_a_mark_that_a_stranger_wrote_refuses_his_own_entry():
    refused = refused_mark(7, [MARK, b"\x1b[31m\xff" * 100])
    assert (refused.reason, refused.original, refused.row_id) == ("entry_id", b"", 7)
    assert refused.detail.isprintable()
    assert len(refused.detail) < 200
