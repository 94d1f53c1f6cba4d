"""GET requests to one REST host: with a key, no faster than its quota, repeated if that may help.

The key is sent in the Authorization header only: addresses appear in logs and errors, headers do not.
"""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import certifi
import msgspec
import structlog
import urllib3
from urllib3.exceptions import HTTPError

from ..contracts.errors import RestAway, RestBroken, RestRefused, RestStopped, TickStockError, UsageError
from ..db.backoff import Backoff
from ..db.world import REAL, World

log = structlog.get_logger()

_ATTEMPTS = 5  # of one request, if the server or the network fails
_REFUSALS = 10  # of one request, if the host's quota is used up (429)
_LONGEST_RETRY_AFTER_S = 86_400.0  # a longer Retry-After counts as this
_MAX_RETRY_AFTER_S = 120.0  # for a longer wait the request fails, and its caller tries again later
_NO_RETRY_AFTER_S = 12.0  # a 429 without a time: the smallest plan allows 5 requests a minute
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 8.0
_REQUEST_S = 30.0  # the longest time for one whole answer
_MAX_BODY_BYTES = 64 << 20  # a page of 50,000 bars is a tenth of it
_CHUNK_BYTES = 1 << 16
_SHOWN_LENGTH = 200
_VENDORS = ("massive.com", "polygon.io")


class TokenBucket:
    """Allows a number of requests a minute, evenly spread; those of one second may come at once."""

    def __init__(self, per_minute: float) -> None:
        self._per_s = per_minute / 60
        self._room = max(1.0, self._per_s)
        self._tokens = self._room
        self._at_s = 0.0

    def take(self, now_s: float) -> float:
        """Take a token; return the seconds to wait before its use. now_s: time of a monotonic clock."""
        self._fill(now_s)
        self._tokens -= 1
        return max(0.0, -self._tokens / self._per_s)

    def pause(self, now_s: float, seconds: float) -> None:
        """Allow no request for this time: the host answered that there were too many."""
        self._fill(now_s)
        self._tokens = min(self._tokens, 1 - seconds * self._per_s)

    def _fill(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - self._at_s)
        self._tokens = min(self._room, self._tokens + passed_s * self._per_s)
        self._at_s = max(self._at_s, now_s)


class _Answer(NamedTuple):
    status: int  # 0: no answer came
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None  # the server's time at the answer
    why: str = ""  # why no answer came


class _Problem(msgspec.Struct):
    error: str = ""
    message: str = ""


_problems = msgspec.json.Decoder(_Problem)


class RestClient:
    """Asks one host, in one thread."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        per_minute: float,
        wait: Callable[[float], bool],
        refused_for: Callable[[float], object] = lambda _: None,
        world: World = REAL,
    ) -> None:
        """wait: wait this number of seconds, return True to stop.

        refused_for: called with the seconds to wait if the quota is used up.

        Raises UsageError.
        """
        self._base = urlsplit(url)
        if self._base.scheme not in ("http", "https") or not self._base.hostname:
            raise UsageError("the REST address is not a URL: https://HOST is needed")
        if self._base.scheme == "http" and self._base.hostname.endswith(_VENDORS):
            raise UsageError(f"{self.host} by http would send the API key in the clear: use https://")
        self._key = key
        self._world = world
        self._bucket = TokenBucket(per_minute)
        self._wait = wait
        self._refused_for = refused_for
        self._pool = urllib3.PoolManager(
            num_pools=1,
            ca_certs=certifi.where(),
            headers={"Authorization": f"Bearer {key}", "Accept-Encoding": "gzip", "User-Agent": "tickstockpl"},
            timeout=urllib3.Timeout(connect=5.0, read=10.0),
            retries=False,  # ours count, wait for the quota, and can be stopped
        )

    def __repr__(self) -> str:
        return f"RestClient({self.host})"

    @property
    def host(self) -> str:
        """Return the host's name."""
        return str(self._base.hostname)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def follow(self, url: str, link: str) -> str:
        """Return the address of a link on a page. Raises RestBroken if it is on another host."""
        target = urljoin(urljoin(self._base.geturl(), url), link)
        if _host(urlsplit(target)) != _host(self._base):
            raise RestBroken(f"{self.host} links to another host: the key is not sent there")
        return target

    def get(self, url: str) -> bytes | None:
        """Return the body of an answer, None for a 404.

        url: on this host, with or without its name. A request is repeated: after failures with growing pauses and
        jitter, after a used-up quota when the host's Retry-After has passed.
        Raises RestAway, RestRefused, RestBroken, RestStopped.
        """
        target = self.follow(url, "")
        failures = refusals = 0
        backoff = Backoff(self._world, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)
        while True:
            self._sleep(self._bucket.take(self._world.monotonic_s()))
            answer = self._ask(target)
            if answer.status == 200:
                return answer.body
            if answer.status == 404 and _problem_of(answer) is not None:
                return None
            if answer.status == 429:
                refusals += 1
                self._wait_for_quota(answer, target, last=refusals == _REFUSALS)
            elif answer.status == 0 or answer.status >= 500:
                failures += 1
                self._note_failure(answer, target, last=failures == _ATTEMPTS)
                self._sleep(backoff.pause_s())
            else:
                raise self._error(answer, target)

    def _wait_for_quota(self, answer: _Answer, target: str, *, last: bool) -> None:
        seconds = _retry_after_s(answer, self._world)
        self._refused_for(seconds)
        if last or seconds > _MAX_RETRY_AFTER_S:
            raise RestAway(f"{self.host}: the quota of requests is used up ({_shown(target)})", after_s=seconds)
        log.info("rest quota used up: waiting", seconds=round(seconds, 1))
        self._bucket.pause(self._world.monotonic_s(), seconds)

    def _note_failure(self, answer: _Answer, target: str, *, last: bool) -> None:
        why = answer.why or f"status {answer.status}"
        if last:
            raise RestAway(f"{self.host} fails: {why} ({_shown(target)})")
        log.debug("rest failed: trying again", why=why)

    def _sleep(self, seconds: float) -> None:
        """Wait, and raise RestStopped if this process must stop; 0 seconds only checks that."""
        if self._wait(seconds):
            raise RestStopped("stopped")

    def _ask(self, url: str) -> _Answer:
        """Send one GET. A redirect is not followed: the key would go to another address."""
        try:
            response = self._pool.request("GET", url, redirect=False, preload_content=False)
            try:
                body = self._read(response)
            except BaseException:
                response.close()  # part of an answer was not read: no other request may read the rest of it
                raise
            response.release_conn()
        except (HTTPError, OSError) as e:
            return _Answer(0, why=type(e).__name__)  # the error's text contains the address, which may be long
        return _Answer(response.status, body, response.headers.get("Retry-After"), response.headers.get("Date"))

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Read a body within a deadline and a size: with a read timeout alone a slow body never ends."""
        deadline = self._world.monotonic_s() + _REQUEST_S
        chunks, size = [], 0
        while chunk := response.read1(_CHUNK_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            if size > _MAX_BODY_BYTES:
                raise RestBroken(f"an answer of more than {_MAX_BODY_BYTES >> 20} MiB")
            if self._world.monotonic_s() > deadline:
                raise TimeoutError("the answer is too slow")
        return b"".join(chunks)

    def _error(self, answer: _Answer, target: str) -> TickStockError:
        problem = _problem_of(answer)
        said = "no JSON" if problem is None else ascii(problem.error or problem.message)[1:-1]
        if self._key:
            said = said.replace(self._key, "***")  # the text may contain the key that we sent
        message = f"{self.host} answers {answer.status}: {said[:_SHOWN_LENGTH]}"
        if answer.status in (401, 402, 403):
            return RestRefused(f"{message}: check the API key and what its plan allows ({_shown(target)})")
        do = "is --rest-url the vendor's API?"
        if 300 <= answer.status < 400:
            do = "redirects are not followed, they would send the key to another address: correct --rest-url"
        return RestBroken(f"{message}: {do} ({_shown(target)})")


def _problem_of(answer: _Answer) -> _Problem | None:
    """Return the error text of an answer; None if it did not come from an API (a proxy's page, or empty)."""
    try:
        return _problems.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _shown(url: str) -> str:
    """Return an address without its query, for logs: a query may contain a key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _host(url: SplitResult) -> tuple[str, str | None, int]:
    try:
        port = url.port
    except ValueError as e:
        raise RestBroken("a link that is not an address") from e
    return url.scheme, url.hostname, port or (443 if url.scheme == "https" else 80)


def _retry_after_s(answer: _Answer, world: World) -> float:
    """Read Retry-After: seconds, or a date by the server's clock (RFC 9110, section 10.2.3)."""
    text = answer.retry_after
    if text is None:
        return _NO_RETRY_AFTER_S
    try:
        seconds = float(text) if text.isdigit() else _http_s(text) - _server_s(answer, world)
        return min(_LONGEST_RETRY_AFTER_S, max(0.0, seconds))
    except ValueError:
        return _NO_RETRY_AFTER_S


def _server_s(answer: _Answer, world: World) -> float:
    """Return the server's time of an answer, Unix seconds; if it sends none, this host's."""
    try:
        return _http_s(answer.date or "")
    except ValueError:
        return world.unix_ns() / 1e9


def _http_s(text: str) -> float:
    """Read a time of HTTP; it is GMT, also if it ends with -0000. Raises ValueError."""
    at = parsedate_to_datetime(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
