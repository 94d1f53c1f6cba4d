"""Shorten a list for a message: its first items, then `…`."""

from collections.abc import Iterable
from itertools import islice

_FEW = 8


def first_few(items: Iterable[object]) -> str:
    """Return the first eight items, and `…` if there are more."""
    some = [str(item) for item in islice(items, _FEW + 1)]
    return ", ".join([*some[:_FEW], *(["…"] if len(some) > _FEW else [])])
