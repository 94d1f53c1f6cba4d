"""Runs one fuzz target within a budget, and counts what came out: the inputs tried, and the distinct outcomes."""

import os
import re
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings

SECONDS = "TICKSTOCK_FUZZ_SECONDS"  # of all targets together, in `make soak`; an hour where it is not set
SEED = "TICKSTOCK_FUZZ_SEED"  # of the first round there; any where it is not set
TARGETS = 13  # that share the seconds
_ROUND = 250  # inputs under one seed


class Tally:
    """What a target has met. Each outcome is a short text: `value`, or the reason of a refusal.

    seconds: for how long it is to try inputs; None: a fixed number of them, the same each time.
    """

    def __init__(self, target, seconds):
        self.target = target
        self.seconds = seconds
        self.inputs = 0
        self.outcomes: Counter[str] = Counter()

    def note(self, *outcomes):
        self.inputs += 1
        self.outcomes.update(outcomes or ("value",))

    @property
    def line(self):
        return f"{self.target:<28}{self.inputs:>9,} inputs{len(self.outcomes):>5} distinct outcomes"


def fuzz(tally, strategy, check, *, examples, round_size=_ROUND):
    """Try `check` on `examples` inputs of a strategy, or in rounds of other seeds until the time is over.

    A failure shows the smallest input that Hypothesis finds, and the seed of its round.
    """
    if tally.seconds is None:
        _round(0, strategy, check, examples)
        return
    end = time.monotonic() + tally.seconds
    number = int(os.environ.get(SEED, time.time_ns() % 10**9))
    while time.monotonic() < end:
        try:
            _round(number, strategy, check, round_size)
        except BaseException as e:
            e.add_note(f"{SEED}={number}, {tally.inputs:,} inputs before")
            raise
        number += 1


def _round(number, strategy, check, examples):
    run = seed(number)(given(strategy)(check))
    settings(
        max_examples=examples,
        deadline=None,  # a bound in seconds belongs to the step, not to a slow machine
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )(run)()


def first_words(error):
    """Return what an error says without the values in it: errors of one kind are one outcome."""
    text = re.sub(r"'[^']*'|`[^`]*`|\"[^\"]*\"|\b0x\w+|[-+]?\d[\d.e+]*", "_", str(error))
    return f"{type(error).__name__}: {text[:60]}"
