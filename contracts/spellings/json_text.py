"""JSON that others send, where any value may stand: decoded, or refused as one error. Pure.

Typed decoders of msgspec stand where the shape is known; what they raise is `NOT_JSON`.
"""

from typing import Any

import msgspec

from ..errors import TickStockError

# A text that is no UTF-8 is an error of Python's own; so is nesting that the stack has no room for.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_MAX_DEPTH = 64  # our deepest message has 5; what is deeper than the stack breaks who compares or shows it


class NotJson(TickStockError):
    """These bytes are no JSON that is meant for us: count them as foreign, go on."""


def read_json(body: bytes | str) -> Any:
    """Return a JSON value. Raises NotJson, also for one that is nested deeper than 64 times."""
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
