"""The universes that cache_sync computes, and the rule for the symbols of each. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from ..messages.processing_events import CacheMode
from ..universe import UniverseEntry

# The vendor's types for shares of companies and for funds (its manual of /v3/reference/tickers/types).
_STOCKS = frozenset(("CS", "ADRC"))
_FUNDS = frozenset(("ETF", "ETN", "ETV", "ETS"))
_LEADERS = (10, 50, 100, 250, 500, 1000)
# The usual classes of market capitalisation: name and lower bound in dollars, the largest first.
_CLASSES = (("mega", 200e9), ("large", 10e9), ("mid", 2e9), ("small", 300e6), ("micro", 0.0))
IPO_DAYS = 90
THEMES = "themes"  # the name of universes that a person chose: their symbols stay as long as they are listed


class Member(NamedTuple):
    """A symbol that is listed. market_cap: dollars, None: unknown."""

    symbol: str
    type: str | None
    market_cap: float | None


class MadeUniverse(NamedTuple):
    """A universe as its rule makes it; symbols in order. kind: the kind of its row, if the row is new."""

    entry: UniverseEntry
    kind: str
    symbols: list[str]


def universes_of(
    mode: CacheMode,
    members: Sequence[Member],
    *,
    new: Iterable[str] | None,
    themes: Mapping[UniverseEntry, Sequence[str]],
) -> list[MadeUniverse]:
    """Make the universes of a mode. A universe without data is left out, so that its stored row stays.

    new: symbols of new companies, None: unknown. themes: the stored universes of the name `themes`.
    """
    listed = frozenset(member.symbol for member in members)
    parts: dict[CacheMode, Iterator[MadeUniverse]] = {
        "market_cap": _by_market_cap(members),
        "themes": _themes(themes, listed),
        "ipos": _ipos(new, listed),
    }
    if mode == "full":
        return [*_kinds(members), *(universe for part in parts.values() for universe in part)]
    return list(parts[mode])


def _kinds(members: Sequence[Member]) -> Iterator[MadeUniverse]:
    for key, types in (("stocks", _STOCKS), ("etfs", _FUNDS)):
        if found := sorted(member.symbol for member in members if member.type in types):
            yield _made("listed", key, found)


def _by_market_cap(members: Sequence[Member]) -> Iterator[MadeUniverse]:
    known = [(member.market_cap, member.symbol) for member in members if member.market_cap and member.type in _STOCKS]
    if not known:
        return
    ranked = sorted(known, key=lambda one: (-one[0], one[1]))
    for count in _LEADERS:
        yield _made("market_leaders", f"top_{count}", [symbol for _, symbol in ranked[:count]])
    above = float("inf")
    for key, least in _CLASSES:
        yield _made("market_cap", key, sorted(symbol for cap, symbol in ranked if least <= cap < above))
        above = least


def _themes(themes: Mapping[UniverseEntry, Sequence[str]], listed: AbstractSet[str]) -> Iterator[MadeUniverse]:
    for entry, symbols in themes.items():
        yield MadeUniverse(entry, THEMES, [symbol for symbol in symbols if symbol in listed])


def _ipos(new: Iterable[str] | None, listed: AbstractSet[str]) -> Iterator[MadeUniverse]:
    if new is not None:
        yield _made("ipos", f"last_{IPO_DAYS}_days", sorted(set(new) & listed))


def _made(name: str, key: str, symbols: list[str]) -> MadeUniverse:
    return MadeUniverse(UniverseEntry(name, key), name, symbols)
