"""Several patterns on one bar: who speaks for it, and who is named."""

from tickstockpl.contracts.detection import Detection, Event
from tickstockpl.workers.detect.one_event import join_parts

MINUTE = 29_000_000


def found(pattern, *, confidence=0.7, minute=MINUTE, symbol="AIG", timeframe="1min", **more):
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 50.0)
    return Detection(
        symbol=symbol, pattern=pattern, timeframe=timeframe, minute=minute, confidence=confidence, direction=1,
        detected_at=0.0, **prices, **more,
    )  # fmt: skip


def said(detections):
    """Return {pattern: (event, its parts, whose part it is)}."""
    return {d.pattern: (d.event, [part.pattern for part in d.parts], d.part_of) for d in join_parts(detections)}


def test_the_break_of_a_level_speaks_for_a_breakout_and_this_for_a_spike():
    spike, breakout, level = found("Volume_Spike", confidence=0.99), found("Price_Breakout"), found("Resistance_Break")
    assert said([spike, breakout, level]) == {
        "Resistance_Break": (Event.FIRST, ["Price_Breakout", "Volume_Spike"], None),
        "Price_Breakout": (Event.PART, [], "Resistance_Break"),
        "Volume_Spike": (Event.PART, [], "Resistance_Break"),
    }
    assert said([spike, breakout]) == {
        "Price_Breakout": (Event.FIRST, ["Volume_Spike"], None),
        "Volume_Spike": (Event.PART, [], "Price_Breakout"),
    }


def test_a_part_is_named_with_its_own_figures():
    head, _ = join_parts([found("Price_Breakout"), found("Resistance_Break", confidence=0.65, levels=[50.5])][::-1])
    assert head.parts[0].pattern == "Price_Breakout"
    (part,) = join_parts([found("Volume_Spike", confidence=0.9), found("Price_Breakout", levels=[49.0])])[1].parts
    assert (part.pattern, part.confidence, part.direction, part.levels) == ("Volume_Spike", 0.9, 1, [])


def test_a_repeat_speaks_for_nobody_and_is_named():
    assert said([found("Price_Breakout", repeat_after=4), found("Volume_Spike")]) == {
        "Price_Breakout": (Event.REPEAT, [], "Volume_Spike"),
        "Volume_Spike": (Event.FIRST, ["Price_Breakout"], None),
    }


def test_repeats_alone_say_nothing():
    assert said([found("Price_Breakout", repeat_after=4), found("Volume_Spike", repeat_after=2)]) == {
        "Price_Breakout": (Event.REPEAT, [], None),
        "Volume_Spike": (Event.REPEAT, [], None),
    }


def test_other_bars_and_other_patterns_speak_for_themselves():
    alone = [
        found("Price_Breakout"),
        found("Volume_Spike", minute=MINUTE + 1),
        found("Volume_Spike", symbol="BAC"),
        found("Volume_Spike", timeframe="5min"),
        found("Hammer"),
    ]
    assert join_parts(alone) == alone
