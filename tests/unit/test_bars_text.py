from decimal import Decimal

import pytest
from tickstockpl.ops.output.bars_text import short, shortest


@pytest.mark.parametrize(
    ("number", "exact", "for_people"),
    [
        (None, "", ""),
        (1234, "1234", "1234"),
        (Decimal("10.50"), "10.50", "10.50"),
        (Decimal("101.2345674999999"), "101.2345674999999", "101.234567"),
        (101.23456789, "101.23456789", "101.234568"),
        (2.0, "2", "2"),
    ],
)
def test_a_table_rounds_and_what_a_program_reads_is_exact(number, exact, for_people):
    assert (shortest(number), short(number)) == (exact, for_people)
