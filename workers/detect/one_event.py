"""Several patterns on one bar may show one event: one of them is published, and names the others as parts. Pure."""

from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from ...contracts.detection import Detection, Part

# Of these patterns on one bar the first is published. The stricter pattern comes first: a level that held several times
# means more than the range of 20 bars, and a price more than the volume behind it. An order by confidence could change
# with a late trade, and the bar would be published twice.
ONE_EVENT = ("Resistance_Break", "Price_Breakout", "Volume_Spike")


def join_parts(detections: Sequence[Detection]) -> list[Detection]:
    """Name the parts in the published detection of each bar, and in each part the published pattern.

    A repeat is never the published one, but it is a part.
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
        published = joined[head].pattern
        joined[head] = replace(joined[head], parts=parts)
        for i in places:
            if i != head:
                joined[i] = replace(joined[i], part_of=published)
    return joined
