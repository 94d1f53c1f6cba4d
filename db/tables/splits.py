"""Splits: the table corporate_action."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from ...contracts.errors import UsageError
from ...contracts.spellings.split_file import Split, spelled_ratio
from ..postgres import Connection
from ..queries import query

_DECIMALS = 12
_LARGEST_DENOMINATOR = 10_000


def add_splits(connection: Connection, splits: Sequence[Split]) -> int:
    """Add splits; return how many are new. Raises UsageError, and adds none, if one is stored with another ratio."""
    values = _values_of(splits)
    with connection.transaction():
        wrong = connection.execute(query("contradicted_splits"), values).fetchall()
        if wrong:
            symbol, day, given, stands = wrong[0]
            said = f"{spelled_ratio(_fraction(given))}, but the table has {spelled_ratio(_fraction(stands))}"
            raise UsageError(f"{symbol} on {day} is {said}: {len(wrong)} splits differ, none was added")
        return connection.execute(query("add_splits"), values).rowcount


def add_new_splits(connection: Connection, splits: Sequence[Split]) -> tuple[int, list[str]]:
    """Add the new splits; return how many, and a sentence for each that is stored with another ratio."""
    values = _values_of(splits)
    wrong = connection.execute(query("contradicted_splits"), values).fetchall()
    added = connection.execute(query("add_splits"), values).rowcount
    return added, [
        f"{symbol} on {day} is {spelled_ratio(_fraction(given))}, but the table has {spelled_ratio(_fraction(stands))}"
        for symbol, day, given, stands in wrong
    ]


def _values_of(splits: Sequence[Split]) -> dict[str, list[object]]:
    return {
        "symbols": [split.symbol for split in splits],
        "ex_dates": [split.ex_date for split in splits],
        "ratios": [round(Decimal(s.ratio.numerator) / s.ratio.denominator, _DECIMALS) for s in splits],
    }


def list_splits(connection: Connection, symbol: str | None = None) -> list[Split]:
    """Return the splits of a symbol, or of all, by symbol and day."""
    rows = connection.execute(query("list_splits"), {"symbol": symbol})
    return [Split(name, day, _fraction(ratio)) for name, day, ratio in rows]


def split_minutes(connection: Connection) -> dict[str, tuple[int, ...]]:
    """Return symbol -> minutes since 1970 at which the days of its splits begin in New York."""
    return {symbol: tuple(minutes) for symbol, minutes in connection.execute(query("split_minutes"))}


def _fraction(ratio: Decimal) -> Fraction:
    return Fraction(ratio).limit_denominator(_LARGEST_DENOMINATOR)
