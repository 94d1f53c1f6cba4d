"""Entries of the front door, as anybody sends them who may XADD there."""

import itertools
import json

from tickstockpl.contracts.names import FRONT_DOOR

from .stranger_hand import LAST_ID, NAMES, NUMBERS, SYMBOLS, TIMES
from .stranger_on_channels import odd_json

TICKS_OF_A_LONG_ARRAY = 900  # 64 kB


def sound_fields(hand, **changed):
    tick = {"symbol": hand.some(SYMBOLS), "price": "100.5", "volume": "7", "timestamp": str(hand.now_ms())}
    return [word for pair in (tick | changed).items() for word in pair]


def door_fields(hand):
    names = (b"symbol", b"price", b"data", b"f", b"", hand.bytes(), b"timestamp", b"type")
    fields = [(hand.some(names), hand.bytes()) for _ in range(hand.numbers.randrange(1, 6))]
    hand.do("XADD", FRONT_DOOR, "*", *itertools.chain(*fields))


def door_values(hand):
    name = hand.some(("symbol", "price", "volume", "timestamp", "type", "trade_id", "exchange"))
    values = {"symbol": NAMES, "timestamp": TIMES, "type": ("AM", "A", "status", hand.bytes())}
    hand.do("XADD", FRONT_DOOR, "*", *sound_fields(hand, **{name: hand.some(values.get(name, NUMBERS))}))


def door_json(hand):
    hand.do("XADD", FRONT_DOOR, "*", "data", odd_json(hand))


def door_array(hand):
    if hand.numbers.random() < 0.1:
        tick = {"sym": hand.some(SYMBOLS), "ev": "T", "p": 100, "s": 1, "t": hand.now_ms()}
        hand.do("XADD", FRONT_DOOR, "*", "data", json.dumps([tick] * TICKS_OF_A_LONG_ARRAY))


def door_undoes(hand):
    kind = hand.some(("cancel", "correct"))
    fields = sound_fields(hand, type=kind, exchange=hand.some(NUMBERS), trade_id=hand.bytes(40))
    hand.do("XADD", FRONT_DOOR, "*", *fields)


def door_times(hand):
    at_ms = hand.some((631_152_000_001, hand.now_ms() - 3_600_000, hand.now_ms() + 3_600_000, 4_102_444_799_000))
    hand.do("XADD", FRONT_DOOR, "*", *sound_fields(hand, timestamp=str(at_ms)))


def door_ids(hand):
    hand.do("XADD", FRONT_DOOR, hand.chosen_id(), *sound_fields(hand))


def door_last_id(hand):
    hand.do("XADD", FRONT_DOOR, LAST_ID, *sound_fields(hand))
