"""A universe: the symbols that a feed requests. Its names, and all formats of its members. Pure."""

import csv
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .errors import UsageError
from .spellings.json_text import NotJson, read_json
from .spellings.tick_values import NotATick, symbol_of

EVERY_SYMBOL = "*"
_SEPARATORS = str.maketrans(",;\t", "   ")
_HEADINGS = ("symbol", "ticker")
_CELL_SEPARATORS = ",;\t"
_MAX_NAME_LENGTH = 100  # cache_entries.name and .key
_FILE_ENDINGS = (".txt", ".csv", ".json")


class UniverseEntry(NamedTuple):
    """A row of the application's table cache_entries; written NAME:KEY, as in SYMBOL_UNIVERSE_KEY."""

    name: str
    key: str

    def __str__(self) -> str:
        return f"{self.name}:{self.key}"


class UniverseFile(NamedTuple):
    """A file of symbols."""

    path: str


class UniverseList(NamedTuple):
    """Symbols given directly; `*` alone means every symbol."""

    symbols: list[str]


def read_universe_option(text: str) -> UniverseEntry | UniverseFile | UniverseList:
    """Read the option `--universe`: @FILE or a path, NAME:KEY, or symbols with commas. Raises UsageError."""
    text = text.strip()
    if text.startswith("@") or "/" in text or text.lower().endswith(_FILE_ENDINGS):
        return UniverseFile(text.removeprefix("@"))
    if ":" in text:
        return read_entry_name(text)
    if text == EVERY_SYMBOL:
        return UniverseList([EVERY_SYMBOL])
    return UniverseList(symbols_of_text(text, "--universe"))


def read_entry_name(text: str) -> UniverseEntry:
    """Read NAME:KEY. Raises UsageError."""
    name, colon, key = text.partition(":")
    if not (name and colon and key) or max(len(name), len(key)) > _MAX_NAME_LENGTH or not text.isprintable():
        raise UsageError(
            f"{text!r} names no universe: NAME:KEY is needed, as in stock_etf_test:combo_test, "
            f"each at most {_MAX_NAME_LENGTH} characters"
        )
    return UniverseEntry(name, key)


def symbols_of_text(text: str, where: str) -> list[str]:
    """Read a file's text: JSON as in cache_entries, CSV with a heading symbol or ticker, or plain lines.

    CSV may have commas, semicolons or tabs between its cells. Plain lines hold symbols separated by commas or blanks;
    `#` starts a comment. where: the source's name in errors. Raises UsageError.
    """
    text = text.removeprefix("\ufeff").lstrip()
    if text[:1] in ("[", "{"):
        try:
            return symbols_of_value(read_json(text), where)
        except NotJson as e:
            raise UsageError(f"{where} is not JSON: {e}") from e
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    heading = _heading_of(lines[0]) if lines else None
    if heading is not None:
        return _checked(_cells(lines[1:], heading), where)
    return _checked(" ".join(line.partition("#")[0] for line in lines).translate(_SEPARATORS).split(), where)


def symbols_of_value(value: object, where: str) -> list[str]:
    """Read a value of cache_entries: a list, {"symbols": […]} or {"stocks": [{"ticker": …}]}. Raises UsageError."""
    members = _members_of(value)
    if members is None:
        raise UsageError(f'{where} is not a universe: a list, {{"symbols": […]}} or {{"stocks": […]}} is needed')
    return _checked((_ticker_of(member) for member in members), where)


def value_with(former: object, symbols: Iterable[str]) -> Any:
    """Return a value with these symbols, in the shape of the former one; the former fields of each stock stay."""
    wanted = list(symbols)
    if not isinstance(former, dict) or _members_of(former) is None:
        return wanted
    place = "symbols" if isinstance(former.get("symbols"), list) else "stocks"
    known = {_ticker_of(member): member for member in former[place] if isinstance(member, dict)}
    as_objects = place == "stocks"
    members = [known.get(symbol, {"ticker": symbol} if as_objects else symbol) for symbol in wanted]
    return former | {place: members, "count": len(wanted)}


def _heading_of(line: str) -> tuple[str, int] | None:
    """Return what separates a file's cells, and the column of symbols; None: the line is not a heading.

    Spreadsheets write semicolons where a comma is the sign of decimals.
    """
    for separator in _CELL_SEPARATORS:
        names = [name.strip(' "').lower() for name in line.split(separator)]
        for name in _HEADINGS:
            if name in names:
                return separator, names.index(name)
    return None


def _cells(lines: Iterable[str], heading: tuple[str, int]) -> list[str]:
    separator, column = heading
    try:
        return [row[column] if column < len(row) else "" for row in csv.reader(lines, delimiter=separator)]
    except csv.Error as e:
        raise UsageError(f"not a list of symbols: {e}") from e


def _members_of(value: object) -> list[Any] | None:
    if isinstance(value, Mapping):
        lists = (value[name] for name in ("symbols", "stocks") if isinstance(value.get(name), list))
        return next(lists, None)
    return value if isinstance(value, list) else None


def _ticker_of(member: object) -> object:
    if isinstance(member, Mapping):
        return member.get("ticker", member.get("symbol"))
    return member


def _checked(members: Iterable[object], where: str) -> list[str]:
    """Return the symbols, each once, in order. A symbol with a comma or a blank would subscribe to others."""
    symbols: dict[str, None] = {}
    for number, member in enumerate(members, 1):
        try:
            symbol = symbol_of(member)
        except NotATick as e:
            raise UsageError(f"{where}, member {number}: {e}") from e
        if symbol == EVERY_SYMBOL or any(char in ", \t" for char in symbol):
            raise UsageError(f"{where}, member {number}: {symbol!r} is not a symbol")
        symbols[symbol] = None
    if not symbols:
        raise UsageError(f"{where} holds no symbol")
    return list(symbols)
