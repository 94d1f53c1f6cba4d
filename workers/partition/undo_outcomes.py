"""Decides on each undo at a commit: carry it out, let it wait for its trade, or send it to the dead letters. Pure."""

from collections.abc import Container, Sequence

from .early_undos import EarlyUndo
from .uncommitted import DeadLetter, Uncommitted
from .undo import NO_TRADE, TRIMMED, Found, Undo, refused_undo


def refuse_undo(one: EarlyUndo, why: str, uncommitted: Uncommitted, known: Container[str]) -> None:
    """Send an undo to the dead letters. known: the producers whose numbers are kept; only their counts can change."""
    if one.producer in known:
        counts = uncommitted.count_of(one.producer)
        counts.applied -= 1
        counts.refused += 1
    uncommitted.dead_letters.append(DeadLetter(one.producer, refused_undo(one.undo, one.ts, why)))


def sort_out(
    pending: Sequence[EarlyUndo], found: Sequence[Found], first_ms: int, uncommitted: Uncommitted, known: Container[str]
) -> tuple[list[tuple[str, int]], list[EarlyUndo]]:
    """Return the (symbol, minute) whose bars must be made again, and the undos that wait for their trades.

    found: for each undo, whether the stream holds its trade. first_ms: the id of the first entry that it holds.
    """
    minutes, early = [], []
    outcomes: dict[Undo, list[Found]] = {}
    for outcome in found:
        outcomes.setdefault(outcome.undo, []).append(outcome)
    for one in reversed(pending):  # of several equal undos, these are the last ones
        alike = outcomes.get(one.undo)
        outcome = alike.pop() if alike else Found(one.undo, None)  # Redis lost the undo itself
        # If clocks differ, a trade may arrive up to a minute before its own time.
        trimmed = outcome.minute is not None and (outcome.minute - 1) * 60_000 < first_ms
        if outcome.too_late or trimmed:
            refuse_undo(one, TRIMMED if trimmed else NO_TRADE, uncommitted, known)
        elif outcome.minute is None:
            early.append(one)
        else:
            minutes.append((one.undo.symbol, outcome.minute))
            uncommitted.undone.setdefault((one.feed, *minutes[-1]), []).append(one)
    return minutes, early[::-1]
