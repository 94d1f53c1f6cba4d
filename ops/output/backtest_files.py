"""A backtest's report as files: JSON; trades and equity as CSV, and as Parquet if pyarrow is installed.

With matplotlib also a picture.
"""

import csv
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from ...workers.backtest.report import CurvePoint, Report, TradeRow
from ..process.whole_file import whole_file

_INDENT = 2


def write_report(report: Report, folder: Path) -> Iterator[Path]:
    """Make a folder and write the files into it; yield each when it is written. The same report gives the same bytes.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "report.json"
    with whole_file(whole) as part:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=_INDENT) + b"\n")
    yield whole
    for name, columns, rows in _tables(report):
        yield _write_csv(folder / f"{name}.csv", columns, rows)
        if find_spec("pyarrow"):  # the image of compose.yaml has none
            yield _write_parquet(folder / f"{name}.parquet", columns, rows)
    if find_spec("matplotlib"):
        yield _draw(report, folder / "equity.png")


def _tables(report: Report) -> Iterator[tuple[str, Sequence[str], list[tuple[Any, ...]]]]:
    for name, kind, rows in (("trades", TradeRow, report.trade_list), ("equity", CurvePoint, report.equity)):
        columns = kind.__struct_fields__
        yield name, columns, [tuple(getattr(row, column) for column in columns) for row in rows]


def _write_csv(file: Path, columns: Sequence[str], rows: list[tuple[Any, ...]]) -> Path:
    with whole_file(file) as part, part.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return file


def _write_parquet(file: Path, columns: Sequence[str], rows: list[tuple[Any, ...]]) -> Path:
    import pyarrow as pa  # noqa: PLC0415  # 0.2 s to import
    from pyarrow import parquet  # noqa: PLC0415

    with whole_file(file) as part:
        parquet.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(columns)}), part)
    return file


def _draw(report: Report, file: Path) -> Path:
    """Draw the account and the benchmark in one picture."""
    from .chart import account  # noqa: PLC0415  # matplotlib is of the extra `chart`

    with whole_file(file) as part:
        account(report).savefig(part, metadata={"Software": None})  # the same report gives the same bytes
    return file
