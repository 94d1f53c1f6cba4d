"""A file of splits: CSV with the columns symbol, ex_date, and ratio or split_to and split_from. Pure."""

import csv
import re
from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from ..errors import UsageError
from .tick_values import NotATick, shown, symbol_of

_SYMBOL_NAMES, _DAY_NAMES = ("symbol", "ticker"), ("ex_date", "execution_date")  # ours, and the vendor's
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_RATIO = re.compile(rf"({_NUMBER})(?:\s*(?::|/|for)\s*({_NUMBER}))?", re.ASCII)


class Split(NamedTuple):
    """ratio: new shares for one old share. ex_date: the first day on which the new shares trade."""

    symbol: str
    ex_date: date
    ratio: Fraction


def splits_of_text(text: str, name: str) -> list[Split]:
    """Read a file; a repeated line is ignored. Raises UsageError, with the line.

    A ratio is written as 10, 10:1, 3:2 or 0.125, or in the vendor's two columns split_to and split_from.
    """
    found: dict[tuple[str, date], Split] = {}
    for number, row in _rows(text, name):
        try:
            split = _split_of(row)
        except (NotATick, ValueError) as e:
            raise UsageError(f"{name}:{number}: {e}") from e
        key = (split.symbol, split.ex_date)
        if found.setdefault(key, split) != split:
            said = f"{spelled_ratio(found[key].ratio)} and {spelled_ratio(split.ratio)}"
            raise UsageError(f"{name}:{number}: {split.symbol} on {split.ex_date} has two ratios: {said}")
    return list(found.values())


def _rows(text: str, name: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.DictReader(text.removeprefix("\ufeff").splitlines(), skipinitialspace=True)
    names = set(reader.fieldnames or ())
    has_ratio = "ratio" in names or {"split_to", "split_from"} <= names
    if not (names.intersection(_SYMBOL_NAMES) and names.intersection(_DAY_NAMES) and has_ratio):
        raise UsageError(f"{name}: the first line must name the columns: symbol,ex_date,ratio")
    for row in reader:
        yield reader.line_num, {column: value or "" for column, value in row.items() if isinstance(column, str)}


def _split_of(row: Mapping[str, str]) -> Split:
    """Read one row. Raises NotATick, ValueError."""
    symbol = symbol_of(next(row[name] for name in _SYMBOL_NAMES if name in row).strip())
    day = next(row[name] for name in _DAY_NAMES if name in row).strip()
    try:
        ex_date = date.fromisoformat(day)
    except ValueError as e:
        raise ValueError(f"ex_date is not a day like 2025-06-10: {shown(day)}") from e
    ratio = _ratio_of(row["ratio"] if "ratio" in row else f"{row['split_to']}:{row['split_from']}")
    return Split(symbol, ex_date, ratio)


def _ratio_of(text: str) -> Fraction:
    """Read a ratio. Raises ValueError."""
    match = _RATIO.fullmatch(text.strip())
    try:
        return ratio_of(Fraction(match[1]), Fraction(match[2] or 1)) if match else ratio_of(Fraction(0), Fraction(1))
    except (ValueError, ZeroDivisionError) as e:
        raise ValueError(f"ratio is not like 10:1, 3:2 or 0.125: {shown(text)}") from e


def ratio_of(new: Fraction, old: Fraction) -> Fraction:
    """Return how many new shares an old one became. Raises ValueError, ZeroDivisionError."""
    ratio = new / old
    if not 0 < ratio < 10**6 or ratio == 1:
        raise ValueError(f"{new} new shares for {old} old ones is not a split")
    return ratio


def spelled_ratio(ratio: Fraction) -> str:
    """Write a ratio in the usual form: 10:1, 3:2, 1:8."""
    return f"{ratio.numerator}:{ratio.denominator}"
