"""The symbols of one partition, each with its number. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np

from ...contracts.ticks import Column


class Numbering:
    """Numbers the symbols of a partition as they come. It outlives a restore, so that what counts on it may, too."""

    def __init__(self) -> None:
        self.names: list[str] = []  # the symbol of each number; it only grows
        self.codes: dict[str, int] = {}  # the number of each symbol

    def code(self, symbol: str) -> int:
        """Return a symbol's number; a new symbol gets the next one."""
        code = self.codes.get(symbol)
        if code is None:
            code = self.codes[symbol] = len(self.names)
            self.names.append(symbol)
        return code

    def codes_of(self, symbols: Iterable[str]) -> Column:
        """Return the number of each symbol, of which none is new."""
        return np.fromiter((self.codes[symbol] for symbol in symbols), "<i4")

    def fits(self, symbols: Sequence[str]) -> bool:
        """Tell whether symbols stand in the order of their numbers, and new ones behind all others.

        Rows that are sorted by the place of their symbol among these stay sorted by its number.
        """
        known = [code for code in map(self.codes.get, symbols) if code is not None]
        return known == sorted(known) and all(symbol in self.codes for symbol in symbols[: len(known)])
