"""Decode JSON from others, with any values; refuse it with one error. Pure.

For known shapes use typed decoders of msgspec, and catch `NOT_JSON`.
"""

from typing import Any

import msgspec

from ..errors import TickStockError

# For a text that is not UTF-8, Python raises its own error; also for nesting deeper than the stack.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_MAX_DEPTH = 64  # our deepest message has 5; deeper values could overflow the stack when compared or printed


class NotJson(TickStockError):
    """These bytes are not JSON for us: count them as foreign, continue."""


def read_json(body: bytes | str) -> Any:
    """Decode a JSON value. Raises NotJson if the bytes are not JSON, or nested deeper than 64 levels."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError as e:
        raise NotJson("nested too deeply") from e
    except NOT_JSON as e:
        raise NotJson(str(e)) from e
    except UnicodeEncodeError as e:  # a str with half a surrogate pair in it
        raise NotJson("not Unicode") from e
    if _is_deeper_than(_MAX_DEPTH, value):
        raise NotJson("nested too deeply")
    return value


def _is_deeper_than(most: int, value: Any) -> bool:
    level = [value]
    for _ in range(most):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
