"""A list in a message: its first items, and that there are more."""

from collections.abc import Iterable
from itertools import islice

_FEW = 8


def first_few(items: Iterable[object]) -> str:
    """Return the first eight items, and `…` where there are more."""
    some = [str(item) for item in islice(items, _FEW + 1)]
    return ", ".join([*some[:_FEW], *(["…"] if len(some) > _FEW else [])])
