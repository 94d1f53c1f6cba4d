"""Which results a client wants, and which part of each result."""

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from ....contracts.errors import UsageError
from .event_hub import Event

KINDS = ("bars", "patterns", "indicators", "alerts", "run")


class Wanted(NamedTuple):
    """kinds: of events. symbol: only parts of events for this symbol; None: all. Messages of runs have no symbol."""

    kinds: Collection[str]
    symbol: str | None

    def data_of(self, event: Event) -> bytes | None:
        """Return the part of an event that the client receives, as JSON; None: nothing."""
        if event.kind not in self.kinds:
            return None
        if self.symbol is None or event.kind == "run":
            return event.data
        # Most events have nothing about one symbol. A search in the bytes is far cheaper than decoding them.
        return self._part_of(event) if msgspec.json.encode(self.symbol) in event.data else None

    def _part_of(self, event: Event) -> bytes | None:
        said = msgspec.json.decode(event.data)
        if event.kind != "bars":
            mine = self._mine(said)
            return msgspec.json.encode(mine) if mine else None
        mine = self._mine(said["bars"])
        return msgspec.json.encode(said | {"bars": mine}) if mine else None

    def _mine(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [item for item in items if item.get("symbol") == self.symbol]


def wanted_of(kinds: str | None, symbol: str | None) -> Wanted:
    """Read the request of a client. kinds: names with commas; None: all. Raises UsageError for an unknown kind."""
    names = [name.strip() for name in kinds.split(",")] if kinds else KINDS
    if unknown := sorted(set(names) - set(KINDS)):
        raise UsageError(f"there is no kind {unknown[0]!r} of event; there are: {', '.join(KINDS)}")
    return Wanted(frozenset(names), symbol)
