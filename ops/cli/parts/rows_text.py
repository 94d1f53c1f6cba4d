"""Prints rows: a table for people, CSV or one JSON object in each line for programs."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ...process.console import make_console
from ...process.whole_file import whole_file

_FILE_WIDTH = 160
_ON_ONE_LINE = ("flow_id", "symbol", "timestamp", "bar")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a cell that begins with one of these
_TEXT = "'"  # a spreadsheet takes a cell that begins with this as text

Rows = Iterator[Sequence[str | float | None]]


def write_rows(columns: Sequence[str], rows: Rows, form: str, output: Path | None) -> None:
    """Write rows as they come, to a file or to stdout. A file gets its name when it is complete.

    A table without rows is not written; CSV always has its header.
    In CSV an apostrophe is put before a text that a spreadsheet would compute: '=1+1 for the symbol =1+1.
    """
    write = {"csv": _write_csv, "json": _write_json, "table": _write_table}[form]
    if output is None:
        with click.open_file("-", "w") as file:
            write(columns, rows, file)
        return
    with whole_file(output) as part, part.open("w", newline="") as file:
        write(columns, rows, file)


def _write_csv(columns: Sequence[str], rows: Rows, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(map(_as_cell, row) for row in rows)


def _as_cell(value: str | float | None) -> str | float | None:
    return _TEXT + value if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write_json(columns: Sequence[str], rows: Rows, file: IO[str]) -> None:
    for row in rows:
        file.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")


def _write_table(columns: Sequence[str], rows: Rows, file: IO[str]) -> None:
    console = make_console(file)
    # Ids are copied into commands, so they stay on one line, and so do times. In a narrow terminal the other columns
    # are folded instead of cut.
    table = Table(*(Column(name, no_wrap=name in _ON_ONE_LINE, overflow="fold") for name in columns))
    for row in rows:
        # Text, not markup: a symbol may be [red].
        table.add_row(*(Text(_short(value)) for value in row))
    if table.row_count:
        # flow_id leaves too little width for the others: the terminal wraps the lines
        print_fitted(table, console, may_wrap="flow_id" in columns)


def print_fitted(table: Table, console: Console, *, may_wrap: bool = False) -> None:
    """Print a table: as wide as it is into a file, without lines between the cells in a terminal that is too narrow.

    may_wrap: let a narrow terminal wrap the lines, instead of the table its cells.
    """
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)
    elif (whole := _width_of(table, console)) > console.width:
        table.box, table.padding = None, (0, 1, 0, 0)
        if may_wrap:
            console.width = whole
    console.print(table)


def _width_of(table: Table, console: Console) -> int:
    return console.measure(table, options=console.options.update(max_width=_FILE_WIDTH)).maximum


def _short(value: str | float | None) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "" if value is None else str(value)
