"""Visitors that the page was not drawn for: another clock, zone and language, keys alone, a large zoom, any address."""

import re
from urllib.parse import quote

import psycopg
import pytest
from ports import free_port
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.workers.detect.definitions import seed_definitions

from ..integration.test_api import add_run, end, served
from .market_rows import BARS, RULE, Outbox, fill, live_bar, live_pattern
from .test_data_view import add_gap, add_letter

BARS_TABLE, PATTERNS_TABLE = "Bars, the newest first", "Patterns, the newest first"
MARKET = "#market?symbol=ACME&timeframe=1min"
VIEWS = {  # each with words that are there once it is drawn
    MARKET: "Hammer",
    "#patterns": "Hammer",
    "#fleet": "NO_WORKERS",
    "#runs": "2 of 505 symbols",
    "#backtests": "no backtest in the last 90 days",
    "#data": "massive-1",
}
UNKNOWN = quote(("☃💥<b>\u202e%00&#='" * 1000)[:10_000])
ADDRESSES = [
    f"#market?symbol={UNKNOWN}",
    f"#market?symbol=ACME&timeframe={UNKNOWN}&zone={UNKNOWN}",
    f"#market?symbol=ACME&show={UNKNOWN}",
    "#market?symbol=ACME&timeframe=toString&zone=__proto__&bar=9e99",
    f"#patterns?symbol={UNKNOWN}",
    f"#patterns?pattern={UNKNOWN}",
    f"#backtests?job={UNKNOWN}&trade=9e9&after=-1",
    f"#data?reason={UNKNOWN}&state={UNKNOWN}",
    f"#{UNKNOWN}",
    "#constructor",
    "#%E0%A4%A",
]
# A clock one day ahead, and a browser that remembers nothing. In Kiritimati it is another day than in New York, and
# in Egypt digits look different.
STRANGE = """
  for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(globalThis, name, { get() { throw new DOMException("blocked", "SecurityError"); } });
  const Real = Date;
  globalThis.Date = class extends Real {
    constructor(...given) { super(...(given.length ? given : [Real.now() + 86_400_000])); }
    static now() { return Real.now() + 86_400_000; }
  };
"""
ELSEWHERE = {"locale": "ar-EG", "timezone_id": "Pacific/Kiritimati"}
HIDE = """is => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => is });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
OUTSIDE = """() => [...document.querySelectorAll("header *, main :is(a, button, input, select, summary, label, h2, p)")]
  .filter(one => one.checkVisibility() && !one.closest(".table, .unseen, .canvas, .skip"))
  .filter(one => one.getBoundingClientRect().right > innerWidth + 1 || one.getBoundingClientRect().left < -1)
  .map(one => one.outerHTML.slice(0, 80))"""
OVERLAPPING = """() => [...document.querySelectorAll("main > *")]
  .filter(one => one.checkVisibility()).flatMap((one, at, all) =>
  [...one.querySelectorAll(".table, .chart, summary")]
    .filter(part => part.getBoundingClientRect().bottom > (all[at + 1]?.getBoundingClientRect().top ?? Infinity) + 1)
    .map(part => part.outerHTML.slice(0, 80)))"""
FOCUSED = """() => {
  const at = document.activeElement;
  const seen = at.matches(".choice input") ? at.nextElementSibling : at;
  return [at.outerHTML.slice(0, 200) + at.textContent.slice(0, 60), getComputedStyle(seen).outlineStyle];
}"""


@pytest.fixture(scope="module")
def database(module_servers):
    with postgres.connect(module_servers.database_url, name="test") as connection:
        open_stream(connection, 2)
        seed_definitions(connection)
    with psycopg.connect(module_servers.database_url, autocommit=True) as connection:
        fill(connection)
        add_gap(connection, 5, 9, "repaired")
        add_letter(connection, "invalid", b"{}")
        connection.execute(
            "INSERT INTO ledger (partition, producer, feed, last_number, ticks_in, applied, too_late)"
            " VALUES (0, 'massive-1', 'live', 600, 600, 600, 0), (1, 'massive-1', 'live', 400, 400, 390, 10)"
        )
        run_id = add_run(connection, "import", "patterns")
        end(connection, run_id, "failed")
        connection.execute("UPDATE run SET error = '2 of 505 symbols: no bars' WHERE run_id = %s", [run_id])
        yield connection


@pytest.fixture(scope="module")
def url(module_servers, database):  # noqa: ARG001  # it has the rows
    with served(module_servers) as api:
        yield api.url


@pytest.fixture(scope="module")
def outbox(database):
    return Outbox(database)


def open_view(visitor, place):
    page = visitor.open(place)
    page.locator("main").get_by_text(VIEWS[place]).locator("visible=true").first.wait_for()
    page.locator("#stream[data-is=live]").wait_for()
    return page


def read_view(visitor, place):
    """Return what a view says, without the times of readings, and the pixels of its chart."""
    page = open_view(visitor, place)
    if place == MARKET:
        page.get_by_text("Bars as a table").click()
        page.locator("[data-time]").first.wait_for()
        page.mouse.move(1, 1)
    if place == "#backtests":
        page.locator("summary", has_text="Start a backtest").click()
    said = re.sub(r"read at .*|since \d\d:\d\d|\d+ MB", "", page.locator("main").inner_text())
    fields = page.locator("main input").evaluate_all("all => all.map(one => one.value)")
    return said, fields, [canvas.screenshot() for canvas in page.locator(".canvas:visible").all()]


def test_clock_zone_language_and_memory_of_the_browser_change_nothing(url, visit, wait_for):
    visitor, stranger = visit(url), visit(url, **ELSEWHERE)
    stranger.page.add_init_script(STRANGE)
    for place in VIEWS:
        wait_for(lambda place=place: read_view(visitor, place) == read_view(stranger, place))
    assert visitor.complaints() == stranger.complaints() == []


def test_an_address_of_anything_breaks_nothing(url, visit):
    visitor = visit(url)
    for address in ADDRESSES:
        page = visitor.open(address)
        page.locator("main > :visible").first.wait_for()
        page.locator("#stream[data-is=reconnecting]").wait_for(state="hidden")
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280, address[:40]
    visitor.picture("strange-address")
    page = visitor.open(ADDRESSES[0])
    page.get_by_text("symbol: longer than 20 characters.").wait_for()
    page.get_by_text("no patterns on these bars").wait_for()
    visitor.picture("strange-symbol")
    visitor.open("#runs")
    page = visitor.open("#market?timeframe=1min")  # what nobody knows is not remembered
    page.get_by_role("button", name="Hammer").wait_for()
    assert [said for said in visitor.complaints() if not re.search(r"status of 4\d\d", said)] == []


def tab_to(page, wanted):
    """Press Tab until an element with such text has the focus; each one on the way shows that it has it."""
    for _ in range(120):
        page.keyboard.press("Tab")
        focused, outline = page.evaluate(FOCUSED)
        assert outline != "none" or focused.startswith("<body"), focused
        if re.search(wanted, focused):
            return
    raise AssertionError(f"no way to {wanted}")


def test_the_keyboard_alone_reaches_everything(url, visit):
    visitor = visit(url)
    page = open_view(visitor, "#patterns")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skip the names of the views
    assert "#patterns" in page.url
    assert page.evaluate("document.activeElement.id") == "view"
    tab_to(page, "placeholder=.all")
    page.keyboard.type("ACME\n")
    page.locator("#stream[data-is=live]").wait_for()
    tab_to(page, "pattern=Hammer.*>ACME")
    page.keyboard.press("Enter")
    page.locator(".card").filter(has_text=RULE).wait_for()

    tab_to(page, "value=.1min")
    page.keyboard.press("ArrowRight")
    page.get_by_text("ACME 5min").first.wait_for()
    page.keyboard.press("ArrowLeft")
    tab_to(page, "<summary>Indicators")
    page.keyboard.press("Enter")
    tab_to(page, "checkbox")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert not page.get_by_role("checkbox").first.is_visible()
    tab_to(page, "Doji")
    page.keyboard.press("Enter")
    page.locator(".card").filter(has_text="Doji").wait_for()
    assert "Doji" in page.evaluate(FOCUSED)[0]  # it stays there, although the rows were drawn again
    tab_to(page, ">Runs")
    page.keyboard.press("Enter")
    page.get_by_text("2 of 505 symbols").wait_for()
    assert ">Runs" in page.evaluate(FOCUSED)[0]
    assert visitor.complaints() == []


@pytest.mark.parametrize("width", [640, 320])
def test_a_zoom_of_200_and_400_per_cent_hides_nothing(url, visit, axe, width):
    visitor = visit(url, size={"width": width, "height": width * 5 // 8}, device_scale_factor=1280 / width)
    for place in VIEWS:
        page = open_view(visitor, place)
        for summary in page.locator("main summary:visible").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        assert page.evaluate(OUTSIDE) == page.evaluate(OVERLAPPING) == [], place
        visitor.picture(f"zoom-{width}-{place.strip('#').partition('?')[0]}")
    assert visitor.faults(axe) == []


def test_who_wants_no_motion_sees_changes_without_any(url, visit, outbox):
    visitor = visit(url, reduced_motion="reduce")
    page = open_view(visitor, MARKET)
    page.locator(".canvas canvas").first.wait_for()
    outbox.publish("bars", live_bar(BARS - 2, 105.0, revision=1))
    page.locator("[role=log] li").filter(has_text="revised").wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
    still = page.evaluate("getComputedStyle(document.querySelector('[role=log] li')).backgroundColor")
    assert still != "rgba(0, 0, 0, 0)"
    assert visitor.complaints() == []


@pytest.mark.parametrize("place", ["#patterns", "#fleet"])
def test_a_hidden_tab_asks_nothing_and_leaves_nothing_out(url, visit, outbox, place):
    visitor = visit(url)
    visitor.page.clock.install()
    page = open_view(visitor, place)
    asked = []
    page.evaluate(HIDE, True)
    page.clock.fast_forward(11_000)
    page.locator("#stream[data-is=paused]").wait_for()
    page.on("request", lambda request: asked.append(request.url))
    missed = outbox.publish("patterns", live_pattern(BARS + 1, symbol="BETA"))
    page.clock.fast_forward(600_000)
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    assert asked == []
    page.evaluate(HIDE, False)
    page.locator("#stream[data-is=live]").wait_for()
    if place == "#patterns":
        page.locator(f'[data-result="{missed}"]').wait_for()
    assert asked != []
    assert visitor.complaints() == []


def test_a_restarted_api_is_told_in_each_view_and_nothing_is_left_out(module_servers, visit, outbox, wait_for):
    port = free_port()
    with served(module_servers, port=port) as api:
        tabs = {place: visit(api.url) for place in VIEWS}
        pages = {place: open_view(tab, place) for place, tab in tabs.items()}
        market, patterns, data = pages[MARKET], pages["#patterns"], pages["#data"]
        heard = outbox.publish("patterns", live_pattern(BARS + 2, symbol="BETA"))
        patterns.locator(f'[data-result="{heard}"]').wait_for()
        outbox.publish("bars", live_bar(BARS + 2, 106.5))
        market.locator(".read").filter(has_text="10:32").wait_for()
        pages["#fleet"].locator("polyline[points*=' ']").first.wait_for(state="attached")
    data.get_by_role("link", name="Runs").click()  # this tab has not shown it yet
    for place, page in pages.items():
        page.locator("#stream[data-is=reconnecting]").wait_for()
        if place not in (MARKET, "#patterns"):  # these read nothing again and again
            page.get_by_text("the API does not answer: what is below is older.").wait_for()
    data.get_by_role("link", name="Market").click()
    outbox.publish("bars", live_bar(BARS + 3, 107.0))
    missed = outbox.publish("patterns", live_pattern(BARS + 3, symbol="BETA"))
    with served(module_servers, port=port):
        for page in pages.values():
            page.locator("#stream[data-is=live]").wait_for()
            wait_for(lambda page=page: page.locator("main .message:visible").count() == 0)
        patterns.locator(f'[data-result="{missed}"]').wait_for()
        market.locator(".read").filter(has_text="10:33").wait_for()
        data.locator(".read").filter(has_text="ACME 1min").wait_for()
        assert data.locator(".canvas canvas").count() > 0
        assert pages["#fleet"].locator("polyline[points*=' ']").count() > 0  # of before the restart
    assert [said for tab in tabs.values() for said in tab.complaints() if "ERR_" not in said] == []
