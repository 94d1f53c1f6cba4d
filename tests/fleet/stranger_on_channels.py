"""Messages on channels: those of ticks, those of commands, and those of results, where only the bridge should speak."""

import json

from tickstockpl.contracts.messages import channel_names
from tickstockpl.contracts.names import TICK_CHANNELS

from .stranger_hand import SYMBOLS

COMMAND_CHANNELS = (
    "tickstock.jobs.data_load", "tickstock.jobs.control", "tickstock.jobs.backtest", "tickstock.jobs.cancel",
    "tickstock:monitoring:control", "tickstock.test.connectivity",
)  # fmt: skip
RESULT_CHANNELS = tuple(sorted(name for key, name in vars(channel_names).items() if key.isupper()))


def channel_json(hand):
    hand.do("PUBLISH", hand.some(TICK_CHANNELS).replace("*", "ZZZ.A"), odd_json(hand))


def channel_bytes(hand):
    hand.do("PUBLISH", hand.some(TICK_CHANNELS).replace("*", "ZZZ.A"), hand.bytes(3000))


def command_channels(hand):
    hand.do("PUBLISH", hand.some(COMMAND_CHANNELS), hand.some((hand.bytes(), odd_json(hand))))


def result_channels(hand):
    hand.do("PUBLISH", hand.some(RESULT_CHANNELS), hand.some((hand.bytes(), odd_json(hand))))


def odd_json(hand):
    """Make a message that no tick can be read from, or one that is sound but of next year."""
    return hand.some(ODD_JSON)(hand)


def deep(hand):
    return hand.some(("[", '{"a":')) * hand.numbers.randrange(1, 60_000)


def cut_off(hand):
    body = json.dumps(sound_message(hand))
    return body[: hand.numbers.randrange(1, len(body) - 1)]


def wrong_value(hand):
    name = hand.some(("ticker", "price", "volume", "timestamp", "event_type"))
    return json.dumps(sound_message(hand) | {name: hand.some((None, True, [], {}, "x" * 30, [[]], -1, 10**400, ""))})


def wrong_spelling(hand):
    price = hand.some(("NaN", "1e999", "-0", "Infinity", "1.5.5"))
    return f'{{"ticker":"ZZZ.A","price":{price},"volume":1,"timestamp":1e9}}'


def lone_surrogate(_):
    return '{"ticker":"\\ud800","price":1.5,"volume":1,"timestamp":1757600000}'


def of_next_year(hand):
    return json.dumps(sound_message(hand) | {"timestamp": hand.now_ms() + 31_622_400_000})


def array_of_anything(hand):
    elements = (1, None, "x", [], {}, {"ev": "status"}, {"ev": "?"}, {"test": 1})
    return json.dumps([hand.some(elements) for _ in range(50)])


def sound_message(hand):
    return {"event_type": "T", "ticker": hand.some(SYMBOLS), "price": 100.5, "volume": 7, "timestamp": hand.now_ms()}


ODD_JSON = (
    lambda hand: hand.bytes(), deep, cut_off, wrong_value, wrong_spelling, lone_surrogate, of_next_year,
    array_of_anything,
)  # fmt: skip
