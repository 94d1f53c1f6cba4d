"""Load the statements in sql/queries/*.sql by name: `query("take_lease")`."""

import re
from functools import cache
from importlib.resources import files

from psycopg.sql import SQL

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def query(name: str) -> SQL:
    """Return the statement with this name. Values are bound by name, `%(name)s`; SQL is never built from strings."""
    return SQL(_load()[name])


@cache
def _load() -> dict[str, str]:
    queries: dict[str, str] = {}
    for file in files("tickstockpl.db").joinpath("sql/queries").iterdir():
        _, *parts = _NAME.split(file.read_text())
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in queries:
                raise KeyError(f"two queries are named {name}")
            queries[name] = text.strip().rstrip(";")
    return queries
