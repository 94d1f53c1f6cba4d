"""The definitions of a run: read once at its start and stored in its row, so that all of its steps use the same."""

from typing import Any, NamedTuple

import msgspec

from ...contracts.timeframe import LONGER
from ...db.postgres import Connection
from ...db.queries import query
from ..detect.definition import IndicatorDefinition, PatternDefinition
from ..detect.definitions import decoded, indicator_definition, pattern_definition


class PinnedRow(msgspec.Struct, frozen=True, array_like=True):
    """A row of a table of definitions. least: the threshold of a pattern, the period of an indicator."""

    name: str
    least: float | None
    timeframes: list[str]
    parameters: Any


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """The enabled rows. wrong: name -> why a row cannot be used."""

    patterns: list[PinnedRow] = []
    indicators: list[PinnedRow] = []
    wrong: dict[str, str] = {}


class Wanted(NamedTuple):
    """The detectors of one timeframe."""

    patterns: list[PatternDefinition]
    indicators: list[IndicatorDefinition]


def read_pinned(connection: Connection) -> Pinned:
    """Read both tables; wrong rows are left out and listed in `wrong`."""
    pinned = Pinned()
    for name, threshold, timeframes, parameters in connection.execute(query("pattern_definitions")):
        _add(pinned, pinned.patterns, name, None if threshold is None else float(threshold), timeframes, parameters)
    for name, period, timeframes, parameters in connection.execute(query("indicator_definitions")):
        _add(pinned, pinned.indicators, name, period, timeframes, parameters)
    return pinned


def _add(  # a row's columns
    pinned: Pinned, rows: list[PinnedRow], name: str, least: float | None, timeframes: list[str] | None, parameters: Any
) -> None:
    try:
        row = PinnedRow(name, least, [t for t in LONGER if timeframes is None or t in timeframes], decoded(parameters))
        _pattern(row) if rows is pinned.patterns else _indicator(row)
    except ValueError as e:
        pinned.wrong[name] = str(e)
        return
    if row.timeframes:
        rows.append(row)


def wanted_of(
    pinned: Pinned, timeframe: str, *, patterns: tuple[str, ...] | None, indicators: tuple[str, ...] | None
) -> Wanted:
    """Return the detectors of a timeframe; patterns, indicators: only those with these names, None: all."""
    return Wanted(
        [_pattern(row) for row in pinned.patterns if _is_wanted(row, timeframe, patterns)],
        [_indicator(row) for row in pinned.indicators if _is_wanted(row, timeframe, indicators)],
    )


def _is_wanted(row: PinnedRow, timeframe: str, names: tuple[str, ...] | None) -> bool:
    return timeframe in row.timeframes and (names is None or row.name in names)


def _pattern(row: PinnedRow) -> PatternDefinition:
    return pattern_definition(row.name, row.least, row.timeframes, row.parameters)


def _indicator(row: PinnedRow) -> IndicatorDefinition:
    period = None if row.least is None else int(row.least)
    return indicator_definition(row.name, period, row.timeframes, row.parameters)
