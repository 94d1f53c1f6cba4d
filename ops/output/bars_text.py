"""Write a bar's numbers: as short as possible, and exact."""

from typing import Any

_DIGITS = 6


def shortest(number: Any) -> str:
    """Write a number of a bar so that reading it gives the same number; "" for NULL, a text unchanged."""
    if number is None or isinstance(number, str):
        return number or ""
    if isinstance(number, float):
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return str(number) if isinstance(number, int) else format(number, "f")


def short(number: Any) -> str:
    """Write a number of a bar for a person, with at most six decimals."""
    if number is None or isinstance(number, int | str):
        return shortest(number)
    exact = shortest(number)
    return exact if len(exact.partition(".")[2]) <= _DIGITS else f"{number:.{_DIGITS}f}"
