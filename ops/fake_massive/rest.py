"""The REST calls that we use, and their failures: one-minute aggregates with paging; each other call has a module."""

import base64
import binascii
import itertools
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlencode, urlsplit
from zoneinfo import ZoneInfo

from ...contracts.bar import MINUTE_MS
from .aggregates import Bar
from .misbehaviour import Misbehaviour
from .reference import Reference
from .reference_calls import ReferenceCalls

_MINUTES = re.compile(r"/v2/aggs/ticker/(?P<ticker>[^/]+)/range/1/minute/(?P<first>[^/]+)/(?P<last>[^/]+)")
_DEFAULT_LIMIT, _MAX_LIMIT = 5_000, 50_000
_NEW_YORK = ZoneInfo("America/New_York")
_ELSEWHERE = "http://elsewhere.invalid"  # a host that cannot exist, RFC 2606

Bars = Callable[[str, int, int], list[Bar]]


class Answer(NamedTuple):
    """An HTTP answer; the body is JSON, or a text as it is."""

    status: int
    body: dict[str, Any] | list[Any] | str
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed


class BadRequest(Exception):
    """The request is invalid: answer 400 with this message."""


class Rest:
    """Answers GETs from the bars of the tape. bars: symbol, first and last start (Unix ms, inclusive) -> bars."""

    def __init__(self, bars: Bars, reference: Reference, misbehaviour: Misbehaviour, *, key: str | None) -> None:
        """key: the only accepted key; None: any."""
        self._address = ""  # of the server itself, for next_url; known when it listens
        self.requests: list[str] = []  # path and query of every request, oldest first
        self._bars = bars
        self._misbehaviour = misbehaviour
        self._key = key
        self._failures = itertools.cycle((500, 502, 503))
        self._reference_calls = ReferenceCalls(reference, misbehaviour)

    def listen_at(self, address: str) -> None:
        """Know the address of the server itself."""
        self._address = self._reference_calls.address = address

    def answer(self, path_and_query: str, authorization: str) -> Answer:
        """Answer one GET."""
        self.requests.append(path_and_query)
        if self._misbehaviour.does("5xx"):
            return Answer(next(self._failures), {"status": "ERROR", "error": "the server is in trouble"})
        if self._misbehaviour.does("429"):
            error = "You've exceeded the maximum requests per minute, please wait or upgrade your subscription."
            return Answer(429, {"status": "ERROR", "error": error}, {"Retry-After": "1"})
        scheme, _, key = authorization.partition(" ")
        if scheme != "Bearer" or not key or self._key not in (None, key):
            return Answer(401, {"status": "ERROR", "error": "Unknown API Key"})
        answer = self._known(path_and_query)
        if self._misbehaviour.does("html"):
            return Answer(200, "<html><body>Please sign in.</body></html>")
        if self._misbehaviour.does("truncated"):
            text = json_body(answer)
            return Answer(answer.status, text[: len(text) // 2])
        return answer

    def _known(self, path_and_query: str) -> Answer:
        try:
            body = self._reference_calls.answer(path_and_query)
        except ValueError as e:
            return Answer(400, {"status": "ERROR", "error": str(e)})
        if body is not None:
            is_unknown = isinstance(body, dict) and body.get("status") == "NOT_FOUND"
            return Answer(404 if is_unknown else 200, body)
        url = urlsplit(path_and_query)
        found = _MINUTES.fullmatch(url.path)
        if not found:
            return Answer(404, {"status": "NOT_FOUND", "error": f"{url.path} is not played here"})
        try:
            return Answer(200, self._page(found, {name: values[-1] for name, values in parse_qs(url.query).items()}))
        except BadRequest as e:
            return Answer(400, {"status": "ERROR", "error": str(e)})

    def _page(self, asked: re.Match[str], options: dict[str, str]) -> dict[str, Any]:
        """Return one page of https://massive.com/docs/rest/stocks/aggregates/custom-bars."""
        if "cursor" in options:
            options |= _options_of(options["cursor"])
        limit, descending = _limit(options.get("limit")), options.get("sort") == "desc"
        first_ms, last_ms = _time_ms(asked["first"], last=False), _time_ms(asked["last"], last=True)
        bars = self._bars(unquote(asked["ticker"]), first_ms - first_ms % MINUTE_MS, last_ms)
        if self._misbehaviour.does("empty"):
            bars = []
        bars = sorted(bars, key=lambda bar: bar.start_ms, reverse=descending)
        page: dict[str, Any] = {
            "ticker": unquote(asked["ticker"]),
            "queryCount": len(bars[:limit]),
            "resultsCount": len(bars[:limit]),
            "adjusted": options.get("adjusted", "true") == "true",
            "status": "OK",
            "request_id": f"{len(self.requests):032x}",
            "count": len(bars[:limit]),
        }
        if bars:
            page["results"] = [_result(bar) for bar in bars[:limit]]
        span = (bars[limit].start_ms, last_ms) if len(bars) > limit else None
        if span and descending:
            span = (first_ms, bars[limit].start_ms)
        return page | self._next(asked, span, limit, options)

    def _next(
        self, asked: re.Match[str], span: tuple[int, int] | None, limit: int, options: dict[str, str]
    ) -> dict[str, str]:
        """Return next_url if there is a next page. span: its first and last time, Unix ms."""
        cursor = base64.urlsafe_b64encode(
            urlencode({"limit": limit} | {n: options[n] for n in ("sort", "adjusted") if n in options}).encode()
        ).decode()
        folder = f"/v2/aggs/ticker/{asked['ticker']}/range/1/minute"
        if self._misbehaviour.does("next_url_loop"):
            return {"next_url": f"{self._address}{folder}/{asked['first']}/{asked['last']}?cursor={cursor}"}
        if self._misbehaviour.does("next_url_elsewhere"):
            return {"next_url": f"{_ELSEWHERE}{folder}/{asked['first']}/{asked['last']}?cursor={cursor}"}
        return {"next_url": f"{self._address}{folder}/{span[0]}/{span[1]}?cursor={cursor}"} if span else {}


def _result(bar: Bar) -> dict[str, Any]:
    return {
        "v": int(bar.volume) if bar.volume.is_integer() else bar.volume,
        "vw": round(bar.vwap, 4),
        "o": bar.open,
        "c": bar.close,
        "h": bar.high,
        "l": bar.low,
        "t": bar.start_ms,
        "n": bar.trade_count,
    }


def _time_ms(text: str, *, last: bool) -> int:
    """Read Unix ms, or a New York day: its first ms, or (last) its last."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=_NEW_YORK)
    except ValueError as e:
        raise BadRequest(f"{text!r} is neither Unix milliseconds nor YYYY-MM-DD") from e
    return int((day + timedelta(days=1)).timestamp() * 1000) - 1 if last else int(day.timestamp() * 1000)


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= _MAX_LIMIT:
        raise BadRequest(f"limit {text!r}: 1 to {_MAX_LIMIT}")
    return int(text)


def _options_of(cursor: str) -> dict[str, str]:
    try:
        return {name: values[-1] for name, values in parse_qs(base64.urlsafe_b64decode(cursor).decode()).items()}
    except (binascii.Error, UnicodeDecodeError) as e:
        raise BadRequest("the cursor is invalid") from e


def json_body(answer: Answer) -> str:
    """Write an answer's body."""
    return answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
