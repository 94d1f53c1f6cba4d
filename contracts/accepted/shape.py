"""Check a decoded JSON value against rules; an error names the path of the value. Pure.

A rule is a text (the value is this text), a dict (an object with exactly these keys, except those of `optional`), or a
function of value and path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

Rule = str | Mapping[str, Any] | Callable[[Any, str], str | None]


def violation(value: Any, rule: Rule, path: str = "") -> str | None:
    """Return where and how a value first breaks a rule; None if it keeps it."""
    if isinstance(rule, str):
        return None if value == rule else f"{path}: {_shown(value)} instead of {rule!r}"
    if isinstance(rule, Mapping):
        return _object_violation(value, rule, path)
    return rule(value, path)


def _object_violation(value: Any, keys: Mapping[str, Rule], path: str) -> str | None:
    if not isinstance(value, dict):
        return f"{path or 'the message'}: {_shown(value)} instead of an object"
    prefix = f"{path}." if path else ""
    if missing := [key for key, rule in keys.items() if key not in value and not isinstance(rule, _Optional)]:
        return f"{prefix}{missing[0]}: is missing"
    if extra := [key for key in value if key not in keys]:
        return f"{prefix}{extra[0]}: is not a key of this message"
    found = (violation(value[key], rule, f"{prefix}{key}") for key, rule in keys.items() if key in value)
    return next(filter(None, found), None)


def _kept_if(test: Callable[[Any], bool], what: str) -> Rule:
    return lambda value, path: None if test(value) else f"{path}: {_shown(value)} instead of {what}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)  # in Python a bool is an int


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() == timedelta(0)
    except ValueError:
        return False


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC) is not None
    except ValueError:
        return False


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


def _is_unix_seconds(value: Any) -> bool:
    # 1990 to 2100: a time in milliseconds is far larger
    return _is_number(value) and 631_152_000 <= value < 4_102_444_800


TEXT = _kept_if(lambda value: isinstance(value, str), "text")
WORD = _kept_if(lambda value: isinstance(value, str) and bool(value), "text that is not empty")
NUMBER = _kept_if(_is_number, "a number")
COUNT = _kept_if(lambda value: _is_number(value) and isinstance(value, int) and value >= 0, "a whole number from 0")
ORDINAL = _kept_if(lambda value: _is_number(value) and isinstance(value, int) and value >= 1, "a whole number from 1")
FRACTION = _kept_if(lambda value: _is_number(value) and 0 <= value <= 1, "a number 0..1")
PERCENT = _kept_if(lambda value: _is_number(value) and 0 <= value <= 100, "a number 0..100")
FLAG = _kept_if(lambda value: isinstance(value, bool), "true or false")
OBJECT = _kept_if(lambda value: isinstance(value, dict), "an object")
TIME = _kept_if(_is_time, "an ISO 8601 time in UTC")
DATE = _kept_if(_is_date, "a date YYYY-MM-DD")
UNIX_SECONDS = _kept_if(_is_unix_seconds, "Unix seconds as a number")
FLOW_ID = _kept_if(_is_uuid, "a uuid")


def one_of(*texts: str) -> Rule:
    """Make a rule: the value is one of some texts."""
    return _kept_if(lambda value: value in texts, " or ".join(map(repr, texts)))


def either(first: Rule, second: Rule) -> Rule:
    """Make a rule: the value keeps one of two rules; if both fail, the second reports the error."""

    def check(value: Any, path: str) -> str | None:
        return None if violation(value, first, path) is None else violation(value, second, path)

    return check


def or_null(rule: Rule) -> Rule:
    """Make a rule: the value is null or keeps another rule."""
    return lambda value, path: None if value is None else violation(value, rule, path)


@dataclass(frozen=True, slots=True)
class _Optional:
    rule: Rule

    def __call__(self, value: Any, path: str, /) -> str | None:
        return violation(value, self.rule, path)


def optional(rule: Rule) -> Rule:
    """Make the rule of a key that may be missing. If it is present, its value must keep `rule`."""
    return _Optional(rule)


def list_of(rule: Rule) -> Rule:
    """Make a rule: the value is a list, and each of its items keeps `rule`."""

    def check(value: Any, path: str) -> str | None:
        if not isinstance(value, list):
            return f"{path}: {_shown(value)} instead of a list"
        return next(filter(None, (violation(item, rule, f"{path}[{i}]") for i, item in enumerate(value))), None)

    return check


def map_of(rule: Rule) -> Rule:
    """Make a rule: the value is an object with any keys, and each of their values keeps `rule`."""

    def check(value: Any, path: str) -> str | None:
        return _object_violation(value, dict.fromkeys(value if isinstance(value, dict) else (), rule), path)

    return check


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:59] + '…'}"
