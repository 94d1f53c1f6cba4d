"""Processor time of the processes of a case, by their names."""

from collections.abc import Iterable, Mapping

import psutil
from place import Place


def processor_s(place: Place, processes: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Return user and system seconds by name since each process began; PostgreSQL's are those of its backends.

    processes: process ids by name.
    """
    used = {name: sum(map(_used_s, pids)) for name, pids in processes.items()}
    redis = place.client.info("cpu")
    used["Redis"] = float(redis["used_cpu_user"] + redis["used_cpu_sys"])
    for backend, pid in place.database.execute(
        "SELECT split_part(split_part(application_name, ' ', 1), '-', 2), pid FROM pg_stat_activity"
        " WHERE application_name LIKE 'tickstock-%%'"
    ).fetchall():
        used[f"PostgreSQL for the {backend}"] = used.get(f"PostgreSQL for the {backend}", 0.0) + _used_s(pid)
    return used


def _used_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
