"""Decode arrays of numbers in PostgreSQL's binary format, which `array_send` returns, as columns."""

from collections.abc import Sequence

import numpy as np

from ..contracts.ticks import Column

_HEADER = 20  # bytes: dimensions, flags, type, length, first index


def numbers_of(array: bytes, form: str) -> Column:
    """Return the numbers of one array, each of which stands after its length. form: of a number, such as ">f8"."""
    return np.frombuffer(array, [("bytes", ">i4"), ("value", form)], offset=_HEADER)["value"]


def joined_numbers(arrays: Sequence[bytes], form: str) -> Column:
    """Return the numbers of all arrays, one array after the other."""
    return numbers_of(bytes(_HEADER) + b"".join([array[_HEADER:] for array in arrays]), form)
