"""Daily runs on the page: why one failed, and what a person with the key can do."""

import re

import psycopg
import pytest

from ..integration.test_api import add_run, end, served
from .conftest import PHONE, WIDE

RUNS = "Runs, the newest first"
WHY = "2 of 505 symbols: <b>no daily bars</b>"


@pytest.fixture
def database(migrated_servers):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def failed(database):
    """Give a failed run of which two symbols can be done again."""
    run_id = add_run(database, "import", "patterns")
    database.execute(
        "INSERT INTO run_step (run_id, phase, timeframe, batch, symbols, token, status)"
        " VALUES (%s, 'import', '', 1, '{AAPL,MSFT}', 1, 'failed')",
        [run_id],
    )
    end(database, run_id, "failed")
    database.execute("UPDATE run SET error = %s WHERE run_id = %s", [WHY, run_id])
    return run_id


def test_a_person_with_the_key_retries_cancels_and_starts_runs(migrated_servers, database, failed, visit, axe):
    with served(migrated_servers, api_key="right") as api:
        visitor = visit(api.url)
        page = visitor.open("#runs")
        page.locator(f'[data-run="{failed}"]').wait_for()
        [row] = visitor.rows(RUNS)
        assert row[:2] + row[3:9] == [
            "2025-11-21", "failed", "90 s", "manual", "all", "import, patterns", "505", "2"
        ]  # fmt: skip
        assert row[11] == WHY  # as text
        assert page.get_by_text("No run is active.").is_visible()

        page.get_by_role("button", name="Retry").click()
        page.get_by_role("button", name="Leave it").click()  # who has no key looks on, and changes nothing
        page.get_by_text("Nothing was changed: no key was given.").wait_for()
        assert database.execute("SELECT count(*) FROM run").fetchone() == (1,)
        page.get_by_role("button", name="Retry").click()
        field = page.get_by_label("Key", exact=True)
        field.fill("wrong")
        field.press("Enter")
        page.get_by_text("The API does not take this key.").wait_for()
        visitor.picture("runs-key")
        field.fill("right")
        field.press("Enter")
        page.get_by_text(f"Retry of run {failed} started.").wait_for()
        page.get_by_text("queued; a process tickstock-jobs begins it").wait_for()
        visitor.picture("runs")
        assert visitor.faults(axe) == []

        page.reload()  # the tab keeps the key
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Cancel the run").click()
        page.get_by_text("is being cancelled.").wait_for()
        ended = "SELECT trigger FROM run WHERE status IN ('cancelling', 'cancelled')"
        assert database.execute(ended).fetchall() == [("retry",)]
        database.execute("UPDATE run SET status = 'cancelled', ended_at = now() WHERE ended_at IS NULL")
        page.get_by_text("No run is active.").wait_for()

        second = visitor.context.new_page()  # another tab, without asking for the key again
        second.goto(page.url)
        second.locator(f'[data-run="{failed}"]').get_by_role("button", name="Retry").click()
        second.get_by_text(f"Retry of run {failed} started.").wait_for()
        assert not second.get_by_role("form", name="The key of the API").is_visible()
        second.close()
        database.execute("UPDATE run SET status = 'cancelled', ended_at = now() WHERE ended_at IS NULL")
        page.get_by_text("No run is active.").wait_for()

        page.get_by_text("Start a run").click()
        page.get_by_label("sync the cache").uncheck()
        page.get_by_role("button", name="Start", exact=True).click()
        page.get_by_text("Processing started successfully.").wait_for()
        assert not page.get_by_role("form", name="The key of the API").is_visible()
        latest = "SELECT phases, requested_by FROM run ORDER BY created_at DESC LIMIT 1"
        assert database.execute(latest).fetchone() == (["import", "indicators", "patterns"], "api")
        assert all("401" in said for said in visitor.wrong)  # those without the right key


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_runs_fit_and_show_how_far_one_is(migrated_servers, database, failed, visit, axe, size):  # noqa: ARG001
    run_id = add_run(database, "import", "patterns")
    database.execute(
        "UPDATE run SET status = 'running', phase = 'patterns', started_at = now() - interval '90 s',"
        " created_at = now() - interval '90 s', symbols = '{AAPL,MSFT,NVDA,AMD}' WHERE run_id = %s",
        [run_id],
    )
    with served(migrated_servers) as api:
        visitor = visit(api.url, size=size)
        page = visitor.open("#runs")
        page.get_by_text("import: done").wait_for()
        page.get_by_text("patterns: now").wait_for()
        page.get_by_text("no process tickstock-jobs moves it on").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        visitor.picture(f"runs-{size['width']}")
        assert visitor.faults(axe) == []
        database.execute("INSERT INTO lease (unit, owner, renewed_at) VALUES ('jobs', 'x', now())")
        page.get_by_text(re.compile(r"patterns: 0 of 4 symbols, 50 %; it ends about \d\d:\d\d New York")).wait_for()
        visitor.picture(f"runs-{size['width']}")
        assert visitor.wrong == []
