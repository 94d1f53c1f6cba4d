"""The fleet as the page shows it: healthy, and after its only worker was killed."""

import re

import pytest
from tickstockpl.ops.page.handlers import page_files

from ..fleet.fleet import fleet_on, wait_for
from ..integration.test_api import served
from .conftest import PHONE

FOREIGN = "<img src=x onerror=alert(1)>"


@pytest.fixture
def fleet(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=2) as fleet:
        fleet.start_worker("worker")
        fleet.start("bridge", "bridge")
        market = ("--symbols", "5", "--rate", "60")
        fleet.start("producer", "producer", "--source", "synthetic", *market)
        yield fleet


def test_the_fleet_is_shown_with_what_to_do(fleet, visit, axe):
    with served(fleet.servers) as api:
        visitor, phone = visit(api.url), visit(api.url, size=PHONE)
        page = visitor.open("#fleet")
        page.get_by_role("region", name="Workers").get_by_text("running").wait_for()
        page.get_by_role("region", name="Producers").get_by_text("running").wait_for()
        wait_for(lambda: [row[-1] for row in visitor.rows("Producers")] == ["0"], 60, fleet.logs)  # bytes in its spool
        wait_for(lambda: [row[1] for row in visitor.rows("Partitions")] == ["worker", "worker"], 60, fleet.logs)
        wait_for(lambda: page.locator("polyline[points*=' ']").count() >= 4, 60, fleet.logs)
        page.get_by_text(re.compile(r"^tickstock-stream: 2 partitions, 1 worker$")).wait_for()
        visitor.picture("fleet")

        fleet.rows("INSERT INTO replay (name, source) VALUES (%s, 'x')", FOREIGN)
        fleet.kill("worker")
        finding = page.locator("[data-code=NO_WORKERS]")
        finding.wait_for()
        assert "start one: tickstock-worker" in finding.inner_text()
        page.locator("h1", has_text="UNHEALTHY").wait_for()
        page.get_by_role("region", name="Workers").get_by_text("silent").wait_for()
        page.get_by_role("region", name="Replays").get_by_text(FOREIGN).wait_for()  # as text
        small = phone.open("#fleet")
        small.locator("[data-code=NO_WORKERS]").wait_for()
        assert small.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        visitor.picture("fleet-killed")
        phone.picture("fleet-390")
        assert visitor.faults(axe) == phone.faults(axe) == []
        assert visitor.wrong == phone.wrong == []


def test_no_module_of_ours_reads_text_as_html():
    ours = {name: file.content.decode() for name, file in page_files().items() if not name.startswith("built/")}
    ways = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(")
    assert [name for name, text in ours.items() if ways.search(text)] == []
