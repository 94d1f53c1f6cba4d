"""A fleet with an API beside a market whose minutes end when a case says so."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from latency import WARM_UP, WITHIN_S, LatencyCase, end_minute, fill_past, first_minute_of, is_shared, running_market
from place import Place, running, wait_for

SYMBOLS = 5_000


class PageFleet:
    """api: the process of tickstock-api, which listens on 127.0.0.1:port."""

    def __init__(self, place: Place, case: LatencyCase, market: subprocess.Popen[str], api: int, port: int) -> None:
        self.place = place
        self.api = api
        self.port = port
        self._case = case
        self._market = market

    @property
    def close_s(self) -> float:
        """Seconds that one close takes at least."""
        return self._case.close_s

    def end_minutes(self, count: int) -> dict[int, float]:
        """Let minutes end one after the other; return the delay (s) of each, by its minute since 1970."""
        ended = [end_minute(self.place, self._market, self._case.close_s) for _ in range(count)]
        return {end["minute"]: end["delay_ms"] / 1000 for end in ended}


@contextmanager
def page_fleet(place: Place, port: int, closes: int) -> Iterator[PageFleet]:
    """Run bridge, worker, API and a market of 5,000 symbols with a past, in which the first minutes have ended."""
    case = LatencyCase(SYMBOLS, closes)
    first_minute = first_minute_of(closes)
    fill_past(place, case, first_minute)
    with ExitStack() as stack:
        for command in (("bridge",), ("worker", "--consumer", "bench")):
            stack.enter_context(running(place, *command))
        api = stack.enter_context(running(place, "api", "--port", str(port)))
        wait_for(lambda: is_shared(place, 1) and _answers(port), within_s=WITHIN_S, every_s=0.1)
        market = stack.enter_context(running_market(place, case, first_minute))
        fleet = PageFleet(place, case, market, api.pid, port)
        fleet.end_minutes(WARM_UP)
        yield fleet


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
