"""The JSON of the dashboards: make it, write it, compare it with the files in ops/grafana/dashboards."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from ..process.whole_file import whole_file
from .bridge_detail import bridge_detail
from .data_quality import data_quality
from .fleet_overview import fleet_overview
from .partition_detail import partition_detail

FOLDER = Path(__file__).parent.parent / "grafana" / "dashboards"

DASHBOARDS: tuple[Callable[[], Dashboard], ...] = (fleet_overview, partition_detail, data_quality, bridge_detail)


def dashboard_files() -> dict[str, str]:
    """Make every dashboard; return the texts by file name."""
    made = (make() for make in DASHBOARDS)
    return {f"{one.uid}.json": json.dumps(one, cls=JSONEncoder, indent=2, sort_keys=True) + "\n" for one in made}


def write(folder: Path) -> list[Path]:
    """Write every file; return them. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in dashboard_files().items():
        file = folder / name
        with whole_file(file) as part:
            part.write_text(text, encoding="utf-8")
        written.append(file)
    return written


def differences(folder: Path) -> Iterator[str]:
    """Yield a sentence for each file that differs from what would be made. Raises OSError."""
    made = dashboard_files()
    found = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.json")}
    for name in sorted(made.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in made:
            yield f"{name} is not one of ours"
        elif made[name] != found[name]:
            yield f"{name} is not current"
