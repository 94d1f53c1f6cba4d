"""All patterns by name. A new pattern needs a file, and here an import and a place in `_KINDS`.

The application shows patterns in the order of `_KINDS`.
"""

from .candlesticks import KINDS as CANDLESTICKS
from .cool_down import COOL_DOWN
from .head_shoulders import KINDS as HEAD_SHOULDERS
from .kind import PatternKind
from .price_breakout import KIND as PRICE_BREAKOUT
from .resistance_break import KIND as RESISTANCE_BREAK
from .support_bounce import KIND as SUPPORT_TEST
from .volume_spike import KIND as VOLUME_SPIKE

_KINDS = [*CANDLESTICKS, *HEAD_SHOULDERS, VOLUME_SPIKE, PRICE_BREAKOUT, SUPPORT_TEST, RESISTANCE_BREAK]
# Every pattern also has the common parameters.
PATTERNS: dict[str, PatternKind] = {
    kind.name: kind._replace(parameters={**kind.parameters, "cool_down": COOL_DOWN}) for kind in _KINDS
}
