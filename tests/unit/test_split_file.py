from datetime import date
from fractions import Fraction

import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.spellings.split_file import Split, splits_of_text

DAY = date(2025, 6, 10)


@pytest.mark.parametrize(
    ("spelled", "ratio"),
    [
        ("10", Fraction(10)), ("10:1", Fraction(10)), ("3:2", Fraction(3, 2)), ("0.125", Fraction(1, 8)),
        (" 1 for 8 ", Fraction(1, 8)), ("3/2", Fraction(3, 2)), ("1.5", Fraction(3, 2)),
    ],
)  # fmt: skip
def test_a_ratio_is_new_shares_for_old_ones(spelled, ratio):
    assert splits_of_text(f"symbol,ex_date,ratio\nAAPL,2025-06-10,{spelled}\n", "f") == [Split("AAPL", DAY, ratio)]


def test_the_vendors_columns_are_read_too():
    text = "execution_date,id,split_from,split_to,ticker\n2025-06-10,E1,1,10,AAPL\n"
    assert splits_of_text(text, "f") == [Split("AAPL", DAY, Fraction(10))]


def test_a_split_that_is_said_twice_counts_once_and_a_contradiction_is_refused_with_its_line():
    text = "symbol,ex_date,ratio\nA,2025-06-10,10\nA,2025-06-10,10:1\n"
    assert splits_of_text(text, "f") == [Split("A", DAY, Fraction(10))]
    with pytest.raises(UsageError, match=r"f:4: A on 2025-06-10 has two ratios: 10:1 and 5:1"):
        splits_of_text(f"{text}A,2025-06-10,5\n", "f")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "f: the first line must name the columns"),
        ("symbol,ratio\nA,2\n", "f: the first line must name the columns"),
        ("symbol,ex_date,ratio\nA,10.6.2025,2\n", "f:2: ex_date is not a day like 2025-06-10: '10.6.2025'"),
        ("symbol,ex_date,ratio\nA,2025-06-10,1:1\n", "f:2: ratio is not like 10:1, 3:2 or 0.125: '1:1'"),
        ("symbol,ex_date,ratio\nA,2025-06-10,2:0\n", "f:2: ratio is not"),
        ("symbol,ex_date,ratio\nA,2025-06-10,-2\n", "f:2: ratio is not"),
        ("symbol,ex_date,ratio\nA,2025-06-10\n", "f:2: ratio is not"),
        ("symbol,ex_date,ratio\n,2025-06-10,2\n", "f:2: "),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(text, why):
    with pytest.raises(UsageError) as e:
        splits_of_text(text, "f")
    assert str(e.value).startswith(why)
