"""(l) From a pattern's PUBLISH to its row in the Patterns view, from a bar's close to its candle in the Market view.

Chromium shows both views beside a market of 5,000 symbols, on the same machine and the same clock.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from closing_market import source_of
from latency import LATENESS_S, Latency, latency_of, listening
from page_fleet import SYMBOLS, PageFleet, page_fleet
from place import Place, wait_for

_LOWER = 10  # of `nice`

# Notes for each new row of a table the time (Unix ms) after the first frame with it; beside a chart, of a frame in
# which the chart was drawn, too. It is up to one frame too late.
_WATCH = """
([region, name, hasChart]) => {
  const seen = (window.benchSeen = {});
  const noted = new Set();
  let drawn = 0;
  const fillRect = CanvasRenderingContext2D.prototype.fillRect;
  CanvasRenderingContext2D.prototype.fillRect = function (...given) {
    drawn = performance.now();
    return fillRect.apply(this, given);
  };
  const body = document.querySelector(`[aria-label="${region}"] tbody`);
  const keys = () => [...body.rows].map((row) => row.dataset[name]).filter((key) => key && !noted.has(key));
  const painted = (fresh, from) => requestAnimationFrame(() => setTimeout(() => {
    if (hasChart && drawn < from) return painted(fresh, from);
    for (const key of fresh) seen[key] = Date.now();
  }));
  keys().forEach((key) => noted.add(key));
  new MutationObserver(() => {
    const fresh = keys();
    fresh.forEach((key) => noted.add(key));
    if (fresh.length) painted(fresh, performance.now() - 20); // the chart is drawn in the frame that adds the row
  }).observe(body, { childList: true });
}
"""


class NoChromium(Exception):
    """Playwright or a Chromium is missing: leave the case out."""


@dataclass(frozen=True)
class Pixels:
    """Seconds by what was measured. unseen: patterns that the list, of the newest 300, left out."""

    latencies: dict[str, Latency]
    unseen: int


def page_pixels(place: Place, port: int, closes: int, *, browser_first: bool) -> Pixels:
    """Let minutes end beside both views. Raises NoChromium.

    browser_first: the fleet, and all that this process does later, has a lower priority than the browser, which a
    person has on a machine of their own.
    """
    heard: dict[str, list[tuple[bytes, float]]] = {"patterns": []}
    with _chromium() as browser:
        if browser_first:
            os.nice(_LOWER)
        with page_fleet(place, port, closes) as fleet:
            rows, candles, delays = _beside(fleet, browser, closes, heard)
    closed = {minute: (minute + 1) * 60 + LATENESS_S + delay for minute, delay in delays.items()}
    said = {key: at_s for key, at_s in map(_published, heard["patterns"]) if "|1min|" in key and _minute(key) in closed}
    return _pixels(said, rows, candles, closed)


def _beside(
    fleet: PageFleet, browser: Any, closes: int, heard: dict[str, list[tuple[bytes, float]]]
) -> tuple[dict[str, float], dict[str, float], dict[int, float]]:
    """Return when rows and candles were seen, and the delays of the minutes."""
    url = f"http://127.0.0.1:{fleet.port}"
    patterns = _tab(browser, f"{url}/#patterns")
    market = _tab(browser, f"{url}/#market?symbol={source_of(SYMBOLS, 1.0).symbols[0]}")
    market.get_by_text("Bars as a table").click()
    market.locator("[data-time]").first.wait_for()
    patterns.evaluate(_WATCH, ["Patterns, the newest first", "key", False])
    market.evaluate(_WATCH, ["Bars, the newest first", "time", True])
    with listening(fleet.place, heard):
        delays = fleet.end_minutes(closes)
        wait_for(lambda: len(_seen(market)) >= closes, within_s=30, every_s=0.2)
    return _seen(patterns), _seen(market), delays


def _pixels(
    said: dict[str, float], rows: dict[str, float], candles: dict[str, float], closed: dict[int, float]
) -> Pixels:
    """said, rows: times by pattern; candles: by the bar's start (s); closed: of the bars by minute."""

    def since_close(key: str, at_s: float) -> float:
        return at_s - closed[_minute(key)]

    shown = {key: at_s for key, at_s in rows.items() if key in said}
    return Pixels(
        {
            "close to PUBLISH of a pattern": latency_of([since_close(key, at_s) for key, at_s in said.items()]),
            "PUBLISH to row": latency_of([at_s - said[key] for key, at_s in shown.items()]),
            "close to row": latency_of([since_close(key, at_s) for key, at_s in shown.items()]),
            "close to candle": latency_of(
                [since_close(t, at_s) for t, at_s in candles.items() if _minute(t) in closed]
            ),
        },
        len(said) - len(shown),
    )


def _minute(key: str) -> int:
    """Return the minute of a pattern's or a candle's bar: the key ends with its start (Unix s)."""
    return int(key.rpartition("|")[2]) // 60


def _published(message: tuple[Any, float]) -> tuple[str, float]:
    """Return the pattern's key in the page's list, and when it was heard."""
    found = json.loads(message[0])["detection"]
    start_s = int(datetime.fromisoformat(found["timestamp"]).timestamp())
    return f"{found['symbol']}|{found['timeframe']}|{found['pattern']}|{start_s}", message[1]


def _seen(tab: Any) -> dict[str, float]:
    return {key: at_ms / 1000 for key, at_ms in tab.evaluate("window.benchSeen").items()}


@contextmanager
def _chromium() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415
    except ImportError as e:
        raise NoChromium("Playwright is not installed") from e
    if program is None:
        raise NoChromium("there is no Chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def _tab(browser: Any, url: str) -> Any:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(url)
    page.locator("#stream[data-is=live]").wait_for()
    return page
