"""Several patterns on one bar that show one event: one is published, and names the others as its parts. Pure."""

from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from ...contracts.detection import Detection, Part

# Who speaks for a bar, the first of them that is there: the more a pattern asks for, the earlier. A level that held
# again and again says more than the range of 20 bars, and a price more than the volume behind it. By confidence, the
# speaker would change with a late trade, and the bar be told twice.
ONE_EVENT = ("Resistance_Break", "Price_Breakout", "Volume_Spike")


def join_parts(detections: Sequence[Detection]) -> list[Detection]:
    """Name the parts in each detection that speaks for its bar, and in those parts who speaks for them.

    A repeat speaks for nobody, and is named all the same: it is on the bar.
    """
    joined = list(detections)
    on_bar: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for i, found in enumerate(joined):
        if found.pattern in ONE_EVENT:
            on_bar[found.symbol, found.timeframe, found.minute].append(i)
    for places in on_bar.values():
        places.sort(key=lambda i: ONE_EVENT.index(joined[i].pattern))
        head = next((i for i in places if not joined[i].repeat_after), None)
        if head is None or len(places) == 1:
            continue
        others = [joined[i] for i in places if i != head]
        parts = [Part(one.pattern, one.confidence, one.direction, one.levels) for one in others]
        speaker = joined[head].pattern
        joined[head] = replace(joined[head], parts=parts)
        for i in places:
            if i != head:
                joined[i] = replace(joined[i], part_of=speaker)
    return joined
