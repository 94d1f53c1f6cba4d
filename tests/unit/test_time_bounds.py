"""Statements that read or delete bars say between which times: a hypertable may have thousands of chunks."""

import re

import pytest
from tickstockpl.db.queries import _load

READS = re.compile(r"\b(?:FROM|JOIN|USING)\s+(ohlcv_\w+)(?:\s+(?!ORDER|WHERE|JOIN)(\w+))?")  # a table, its alias
TIMES = {"ohlcv_daily": "date", "ohlcv_weekly": "week_start", "ohlcv_monthly": "month_start"}
MINUTES = '"timestamp"'  # the column of all other tables
ALL_BARS = {
    "bars_of_symbol": "the newest of one symbol, bound by what the caller gave, and read no further than the limit",
    "latest_bars": "of the demo, on servers of its own",
    "higher_bars": "bound behind its UNION ALL, which PostgreSQL carries into each branch",
    "longer_bars": "of days, weeks and months: whole tables, unless the caller gives bounds",
}
READERS = sorted(name for name, text in _load().items() if READS.search(text))


def test_statements_on_bars_are_found():
    assert {"mark_standing", "delete_unpriced_bars", "delete_emptied_higher_bars", "audited_bars"} <= set(READERS)


@pytest.mark.parametrize("name", READERS)
def test_each_statement_on_bars_is_bound_in_time_by_values_of_its_caller(name):
    text = _load()[name]
    for table, alias in READS.findall(text):
        bound = rf"\b{alias}\.{TIMES.get(table, MINUTES)} (BETWEEN|>=|<=) (to_timestamp\(\(*)?%\("
        assert name in ALL_BARS or (alias and re.search(bound, text)), f"{table} {alias}"
