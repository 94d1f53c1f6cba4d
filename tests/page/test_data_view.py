"""What was missing and what was refused, on the page: gaps, dead letters and their filters."""

import psycopg
import pytest

from ..integration.test_api import served
from .conftest import PHONE
from .market_rows import OPENS_S

GAPS, LETTERS = "Gaps, the newest first", "Dead letters, the newest first"
HOSTILE = b"<script>alert(1)</script>\x1b[2J\xff"
AS_TEXT = "<script>alert(1)</script>\\x1b[2J\\xff"


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


def add_letter(database, reason, original, producer="massive-1"):
    database.execute(
        "INSERT INTO dead_letter (partition, producer, reason, detail, original) VALUES (3, %s, %s, 'price is -1', %s)",
        [producer, reason, original],
    )


def add_gap(database, first, last, state, symbols=None):
    """Store a gap. first, last: minutes after the opening."""
    opens = OPENS_S // 60
    database.execute(
        "INSERT INTO gap (feed, symbols, first_minute, last_minute, why, lost_ticks, state)"
        " VALUES ('live', %s, %s, %s, 'connection lost', 1200, %s)",
        [symbols, opens + first, opens + last, state],
    )


def test_gaps_and_dead_letters_are_shown_as_they_come(migrated_servers, database, visit, axe):
    add_gap(database, 40, 44, "open")
    add_gap(database, 5, 5, "repaired", ["AAPL", "MSFT"])
    add_letter(database, "invalid", HOSTILE)
    database.execute(
        "INSERT INTO ledger (partition, producer, feed, last_number, ticks_in, applied, too_late, lost, ended) VALUES"
        " (0, 'massive-1', 'live', 1001, 1000, 990, 10, 0, true),"
        " (1, 'massive-1', 'live', 500, 500, 480, 0, 20, false),"
        " (0, 'replay-2', 'replay', 8, 8, 7, 0, 0, false)"
    )
    with served(migrated_servers) as api:
        visitor, phone = visit(api.url), visit(api.url, size=PHONE)
        page = visitor.open("#data")
        page.locator("[data-gap]").first.wait_for()
        gaps = sorted(visitor.rows(GAPS))
        assert gaps[0][:6] == ["2025-11-21 09:35", "repaired", "live", "AAPL, MSFT", "connection lost", "1,200"]
        assert gaps[1][:4] == ["2025-11-21 10:10 to 10:14", "open", "live", "all"]
        [letter] = visitor.rows(LETTERS)
        assert letter[2:] == ["invalid", "price is -1", AS_TEXT, str(len(HOSTILE)), "massive-1", "3"]

        page.get_by_text("1 of 2 producers: there are ticks without an outcome").wait_for()
        assert visitor.rows("Ledger by producer") == [  # first the one that does not balance
            ["replay-2", "8", "7", "0", "0", "0", "0", "0", "0", "0", "+1"],
            ["massive-1", "1,500", "1,470", "0", "0", "0", "10", "0", "20", "0", "ok"],
        ]
        page.locator("[data-letter] code").select_text()  # somebody copies it

        add_letter(database, "too_late", b"{}", producer="")  # it comes by itself
        page.locator("[data-letter]").nth(1).wait_for()
        assert visitor.rows(LETTERS)[0][6] == "front door"
        assert page.evaluate("getSelection().toString()") == AS_TEXT  # still selected
        page.get_by_text("1 invalid, 1 too_late").wait_for()
        visitor.picture("data")
        assert visitor.faults(axe) == []

        page.get_by_label("Reason").select_option("too_late")
        page.get_by_label("State").select_option("repaired")
        page.locator("[data-letter]").nth(1).wait_for(state="detached")
        page.reload()
        page.locator("[data-letter]").wait_for()
        assert [row[2] for row in visitor.rows(LETTERS)] == ["too_late"]
        assert [row[1] for row in visitor.rows(GAPS)] == ["repaired"]

        small = phone.open("#data")
        small.locator("[data-letter]").first.wait_for()
        assert small.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        phone.picture("data-390")
        assert phone.faults(axe) == []
        assert visitor.wrong == phone.wrong == []
