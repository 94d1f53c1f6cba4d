"""How long each partition stands still: in a planned move, and when its worker is killed, while a live feed flows."""

import os
import signal

from place import Place, running, wait_for

_RATE = "5000"  # ticks a second
_WITHIN_S = 60.0


def pauses(place: Place) -> tuple[list[float], list[float]]:
    """Return the pauses of planned moves, and those of a killed worker, in seconds, one a partition."""
    with running(place, "producer", "--source", "synthetic", "--rate", _RATE), running(place, *_worker("w1")):
        wait_for(lambda: _is_all_with_first(place), within_s=_WITHIN_S)
        epochs = _forget_pauses(place)
        with running(place, *_worker("w2")):
            wait_for(lambda: _is_shared(place), within_s=_WITHIN_S)
            planned = _pauses_since(place, epochs)
            epochs = _forget_pauses(place)
        wait_for(lambda: _is_all_with_first(place), within_s=_WITHIN_S)
        planned += _pauses_since(place, epochs)
        epochs = _forget_pauses(place)
        with running(place, *_worker("w2")) as victim:
            wait_for(lambda: _is_shared(place), within_s=_WITHIN_S)
            planned += _pauses_since(place, epochs)
            epochs = _forget_pauses(place)
            os.kill(victim.pid, signal.SIGKILL)
            wait_for(lambda: _is_all_with_first(place), within_s=_WITHIN_S)
        return planned, _pauses_since(place, epochs)


def _worker(name: str) -> tuple[str, ...]:
    return "worker", "--consumer", name


def _is_all_with_first(place: Place) -> bool:
    return _owned(place) == {"w1": place.partitions}


def _is_shared(place: Place) -> bool:
    owned = _owned(place)
    return len(owned) == 2 and max(owned.values()) - min(owned.values()) <= 1


def _owned(place: Place) -> dict[str, int]:
    rows = place.database.execute(
        "SELECT owner, count(*) FROM lease WHERE unit LIKE 'partition:%%' AND owner IS NOT NULL"
        " AND expires_at > clock_timestamp() GROUP BY owner HAVING count(*) > 0", ()
    )  # fmt: skip
    owned = dict(rows.fetchall())
    return owned if sum(owned.values()) == place.partitions else {}


def _forget_pauses(place: Place) -> dict[str, int]:
    """Empty the pauses of earlier moves; return the epochs as they are."""
    place.database.execute("UPDATE lease SET pause_s = NULL")
    return _epochs(place)


def _epochs(place: Place) -> dict[str, int]:
    return dict(place.database.execute("SELECT unit, epoch FROM lease WHERE unit LIKE 'partition:%%'", ()).fetchall())


def _pauses_since(place: Place, epochs: dict[str, int]) -> list[float]:
    """Wait until the restore of every moved partition has noted its pause."""
    moved = [unit for unit, epoch in _epochs(place).items() if epoch != epochs[unit]]

    def noted() -> list[float]:
        rows = place.database.execute(
            "SELECT pause_s FROM lease WHERE unit = ANY (%s) AND pause_s IS NOT NULL", (moved,)
        ).fetchall()
        return [pause_s for (pause_s,) in rows]

    wait_for(lambda: len(noted()) == len(moved), within_s=_WITHIN_S)
    return noted()
