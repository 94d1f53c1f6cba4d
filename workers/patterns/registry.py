"""Every pattern by its name: a new one is a file and a line here."""

from . import head_shoulders, price_breakout, resistance_break, support_test, volume_spike
from .candlesticks import KINDS as CANDLESTICKS
from .kind import PatternKind

_KINDS = [
    *CANDLESTICKS,
    *head_shoulders.KINDS,
    volume_spike.KIND,
    price_breakout.KIND,
    support_test.KIND,
    resistance_break.KIND,
]
PATTERNS: dict[str, PatternKind] = {kind.name: kind for kind in _KINDS}
