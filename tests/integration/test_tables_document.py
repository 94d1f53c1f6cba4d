"""docs/tables.md names tables, views and columns that exist, and its statements run."""

import re
from pathlib import Path

import psycopg
import pytest

TEXT = (Path(__file__).parent.parent.parent / "docs" / "tables.md").read_text()
ELSEWHERE = {"bar_detail", "cache_entries"}  # only where the application's tables are


@pytest.fixture
def connection(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


def rows_of_tables():
    """Return each (names of tables, cell that names their columns) of the document's tables."""
    rows = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("| ") and "`" in line]
    return [(set(re.findall(r"`(\w+)`", row[0])), row[-1] if len(row) > 2 else "") for row in rows]


def test_every_table_and_column_that_it_names_exists(connection):
    columns = {}
    for table, column in connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    ):
        columns.setdefault(table, set()).add(column)
    found = rows_of_tables()
    assert len(found) > 10
    for tables, cell in found:
        assert tables - ELSEWHERE <= columns.keys()
        named = set(re.findall(r"`(\w+)`", cell.split(": only where")[0]))
        for table in tables - ELSEWHERE:
            assert named <= columns[table], (table, named - columns[table])


def test_every_statement_of_it_runs(connection):
    statements = re.findall(r"^    (SELECT .*?;)$", TEXT, re.DOTALL | re.MULTILINE)
    assert len(statements) == 3
    for statement in statements:
        connection.execute(statement)
