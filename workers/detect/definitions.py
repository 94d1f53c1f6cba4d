"""Reads from the tables which detectors run, with which threshold and timeframes; checks each row by itself."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from ...contracts.fleet.fleet_look import DefinitionFaults
from ...contracts.timeframe import INTRADAY, LONGER
from ...db.postgres import Connection
from ...db.queries import query
from ..sessions import REGULAR, SESSIONS, Session
from ..windows import WINDOW, Windows
from .alerts import checked_alert_parameters
from .definition import Definitions, IndicatorDefinition, PatternDefinition, WrongRow
from .indicators import INDICATORS, Indicator
from .patterns.cool_down import cool_down_of
from .patterns.kind import PatternKind
from .patterns.registry import PATTERNS

_SESSION = "session"  # of parameters, in both tables
_LARGEST = sys.float_info.max


def default_definitions() -> Definitions:
    """Return the definitions that are enabled when no table can be read."""
    everywhere = frozenset(INTRADAY.values())
    return Definitions(
        [PatternDefinition(k, k.threshold, everywhere, dict(k.parameters)) for k in PATTERNS.values() if k.enabled],
        [IndicatorDefinition(i, i.period, everywhere, {}) for i in INDICATORS.values() if i.enabled],
    )


def faults_of(definitions: Definitions) -> DefinitionFaults:
    """Return the names of the rows that no worker uses."""
    return DefinitionFaults(
        idle=[row.name for row in definitions.idle], wrong=[f"{row.name} ({row.why})" for row in definitions.wrong]
    )


def read_definitions(connection: Connection) -> Definitions:
    """Read both tables."""
    definitions = Definitions()
    for name, threshold, timeframes, parameters in connection.execute(query("pattern_definitions")):
        try:
            least = None if threshold is None else float(threshold)
            pattern = pattern_definition(name, least, timeframes, decoded(parameters))
            definitions.patterns.append(pattern)
            definitions.idle += _idle("pattern_definitions", name, timeframes, pattern.timeframes)
        except ValueError as e:
            definitions.wrong.append(WrongRow("pattern_definitions", name, str(e)))
    for name, period, timeframes, parameters in connection.execute(query("indicator_definitions")):
        try:
            indicator = indicator_definition(name, period, timeframes, decoded(parameters))
            definitions.indicators.append(indicator)
            definitions.idle += _idle("indicator_definitions", name, timeframes, indicator.timeframes)
        except ValueError as e:
            definitions.wrong.append(WrongRow("indicator_definitions", name, str(e)))
    return definitions


def pattern_definition(
    name: str, threshold: float | None, timeframes: list[str] | None, parameters: Any
) -> PatternDefinition:
    """Check one row of pattern_definitions. Raises ValueError with what is wrong."""
    kind = PATTERNS.get(name)
    if kind is None:
        raise ValueError("there is no pattern of this name")
    threshold = kind.threshold if threshold is None else threshold
    if not 0 <= threshold <= 1:
        raise ValueError(f"confidence_threshold is {threshold}: from 0 to 1")
    session, given = _session_of(_parameters(parameters))
    if unknown := sorted(given.keys() - kind.parameters.keys()):
        raise ValueError(f"unknown parameter {unknown[0]}; there are: {', '.join([*kind.parameters, _SESSION])}")
    for parameter, value in given.items():
        if isinstance(value, str) is not isinstance(kind.parameters[parameter], str):
            raise ValueError(f"parameter {parameter} is {value!r}; {kind.parameters[parameter]!r} is the default")
    parameters = {**kind.parameters, **given}
    none = np.empty((0, kind.depth))
    # It raises ValueError for parameters out of bounds.
    kind.find(Windows(none, none, none, none, none, np.empty(0, np.int64)), parameters)
    cool_down_of(parameters)
    return PatternDefinition(kind, threshold, _timeframes(timeframes), parameters, session)


def indicator_definition(
    name: str, period: int | None, timeframes: list[str] | None, parameters: Any
) -> IndicatorDefinition:
    """Check one row of indicator_definitions. Raises ValueError with what is wrong."""
    indicator = INDICATORS.get(name)
    if indicator is None:
        raise ValueError("there is no indicator of this name")
    if indicator.period is not None:
        period = indicator.period if period is None else period
        if not 2 <= period <= indicator.longest:
            why = f"a longer one would need more than the {WINDOW} bars that are kept"
            raise ValueError(f"period is {period}: from 2 to {indicator.longest}; {why}")
    else:
        period = None
    session, given = _session_of(_parameters(parameters))
    checked = checked_alert_parameters(name, given)
    return IndicatorDefinition(indicator, period, _timeframes(timeframes), checked, session)


def _idle(table: str, name: str, named: Sequence[str] | None, runs_on: frozenset[int]) -> list[WrongRow]:
    if runs_on:
        return []
    why = f"it is on for {', '.join(named or ())} alone, and workers detect on {', '.join(INTRADAY)}"
    return [WrongRow(table, name, why)]


def _timeframes(names: Sequence[str] | None) -> frozenset[int]:
    """Return the intraday timeframes among these names, in minutes; without names, all of them."""
    if unknown := [name for name in names or () if name not in INTRADAY and name not in LONGER]:
        raise ValueError(f"unknown timeframe {unknown[0]}; there are: {', '.join(INTRADAY)}")
    return frozenset(INTRADAY[name] for name in (names or INTRADAY) if name in INTRADAY)


def decoded(text: str | None) -> Any:
    """Read the JSON of a row's parameters. Raises ValueError."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as e:  # Python reads no number of more than 4,300 digits
        raise ValueError(f"parameters cannot be read: {e}") from e


def _parameters(parameters: Any) -> dict[str, float | str]:
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise ValueError("parameters is not a JSON object")  # noqa: TRY004  # a wrong row, reported like any other
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"parameter {name} is neither a number nor a text")  # noqa: TRY004  # as above
        if not isinstance(value, str) and not abs(value) <= _LARGEST:
            raise ValueError(f"parameter {name} is too large, or not a number")
    return parameters


def _session_of(parameters: dict[str, float | str]) -> tuple[Session, dict[str, float | str]]:
    """Return the session that parameters name, by default the regular hours, and the other parameters."""
    named = parameters.get(_SESSION, REGULAR)
    session = next((session for session in SESSIONS if session == named), None)
    if session is None:
        raise ValueError(f"{_SESSION} is {named!r}: {' or '.join(SESSIONS)}")
    return session, {name: value for name, value in parameters.items() if name != _SESSION}


def live_names() -> tuple[list[str], list[str]]:
    """Return the patterns and the indicators that are on by default."""
    patterns = [kind.name for kind in PATTERNS.values() if kind.enabled]
    return patterns, [indicator.name for indicator in INDICATORS.values() if indicator.enabled]


def run_live(connection: Connection) -> list[str]:
    """Switch the default patterns and indicators on, on every intraday timeframe; return the rows that changed."""
    changed = []
    with connection.transaction():
        for name, names in zip(("run_patterns_live", "run_indicators_live"), live_names(), strict=True):
            rows = connection.execute(query(name), {"names": names, "timeframes": list(INTRADAY)})
            changed += [row for (row,) in rows]
    return changed


def seed_definitions(connection: Connection) -> None:
    """Insert the missing rows of this program's patterns and indicators."""
    found = connection.execute(query("seeded_definitions")).fetchone() or (None, None)
    patterns, indicators = (set(names or ()) for names in found)
    missing = [kind for kind in PATTERNS.values() if kind.name not in patterns]
    absent = [indicator for indicator in INDICATORS.values() if indicator.name not in indicators]
    _seed(connection, "pattern_definitions", [_pattern_row(kind) for kind in missing])
    _seed(connection, "indicator_definitions", [_indicator_row(indicator) for indicator in absent])


def correct_references(connection: Connection) -> None:
    """Correct `code_reference` in the rows that this program made: the module and function of today."""
    references = {kind.name: _reference(kind.find) for kind in PATTERNS.values()}
    references |= {indicator.name: _reference(indicator.compute) for indicator in INDICATORS.values()}
    for table in ("correct_pattern_references", "correct_indicator_references"):
        connection.execute(query(table), {"names": list(references), "references": list(references.values())})


def _reference(function: Callable[..., Any]) -> str:
    """Return `module:name` of a function."""
    plain = function.func if isinstance(function, partial) else function
    return f"{plain.__module__}:{plain.__qualname__}"


def _seed(connection: Connection, table: str, rows: Sequence[dict[str, object]]) -> None:
    if rows:
        connection.execute(query("seed_definitions"), {"table": table, "rows": msgspec.json.encode(rows).decode()})


def _pattern_row(kind: PatternKind) -> dict[str, object]:
    return {
        "name": kind.name,
        "short_description": kind.description,
        "code_reference": _reference(kind.find),
        "category": "pattern",
        "enabled": kind.enabled,
        "display_order": list(PATTERNS).index(kind.name),
        "confidence_threshold": kind.threshold,
        "applicable_timeframes": [*INTRADAY, *LONGER],
        "parameters": {**kind.parameters, _SESSION: REGULAR},
    }


def _indicator_row(indicator: Indicator) -> dict[str, object]:
    return {
        "name": indicator.name,
        "short_description": indicator.description,
        "code_reference": _reference(indicator.compute),
        "category": "indicator",
        "enabled": indicator.enabled,
        "display_order": list(INDICATORS).index(indicator.name),
        "period": indicator.period,
        "applicable_timeframes": [*INTRADAY, *LONGER],
        "parameters": {_SESSION: REGULAR},
    }
