"""Minute bars by REST: what they become, and what happens when the vendor does not answer as it should."""

import http.server
import json
import logging
import threading
from uuid import uuid4

import pytest
import structlog
from tickstockpl.contracts.errors import RestAway, RestBroken, RestRefused, RestStopped, UsageError
from tickstockpl.ops.fake_massive import FakeMassive
from tickstockpl.ops.fake_massive.trade import trade_of
from tickstockpl.producer.massive.rest import MassiveRest
from tickstockpl.producer.rest_client import TokenBucket

KEY = uuid4().hex  # a random one: no key stands in a file
MINUTE = 1_748_874_600_000  # Monday 2025-06-02, 10:30 in New York
MINUTE_MS = 60_000

TRADES = (
    trade_of("AAPL", MINUTE + 100, 200.0, 100, trade_id="1"),
    trade_of("AAPL", MINUTE + 900, 202.0, 300, trade_id="2"),
    trade_of("AAPL", MINUTE + 59_999, 201.0, 100, trade_id="3"),
    trade_of("AAPL", MINUTE + MINUTE_MS, 199.5, 0.25, trade_id="4"),
    trade_of("AAPL", MINUTE + 3 * MINUTE_MS, 199.0, 10, trade_id="5"),
    trade_of("BRK.B", MINUTE, 500.0, 7, trade_id="6"),
)
BAR = {"t": MINUTE, "o": 10.0, "h": 12.0, "l": 9.0, "c": 11.0, "v": 100, "vw": 10.5, "n": 3}


class Waits(list):
    """Notes each wait, and does not wait."""

    def __call__(self, seconds):
        self.append(seconds)
        return False


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def fake():
    with FakeMassive(key=KEY) as server:
        server.tell(*TRADES)
        yield server


@pytest.fixture
def ask(fake, waits):
    """Give a function that asks the pretend server for minutes after MINUTE: first, last (included)."""
    rest = MassiveRest(fake.rest_url, KEY, per_minute=60_000, wait=waits, page_limit=1)
    yield lambda symbol, first, last: rest.minute_bars(symbol, MINUTE + first * MINUTE_MS, MINUTE + last * MINUTE_MS)
    rest.close()


class Scripted(http.server.ThreadingHTTPServer):
    """Answers one request after the other with (status, headers, body); the last one over and over."""

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answers = self.server.answers
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.server.asked.append(self.path)
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(body)), "Date": self.date_time_string()} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted(waits):
    """Give a function that makes a server of scripted answers, and a client of it."""
    servers = []

    def make(*answers):
        server = Scripted(*answers)
        rest = MassiveRest(server.url, KEY, per_minute=60_000, wait=waits)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread, rest))
        return server, rest

    yield make
    for server, thread, rest in servers:
        rest.close()
        server.shutdown()
        thread.join()
        server.server_close()


def page(*bars, **more):
    return 200, {}, json.dumps({"status": "OK", "results": bars} | more).encode()


def one_minute(rest):
    return rest.minute_bars("AAPL", MINUTE, MINUTE)


def columns(ticks):
    """Return the columns of one symbol's bars by name, as lists."""
    told = {name: column.tolist() for name, column in ticks.optional.items()}
    return {"minute": [(ts // 10**6 - MINUTE) // MINUTE_MS for ts in ticks.ts.tolist()],
            "close": ticks.price.tolist(), "volume": ticks.size.tolist()} | told  # fmt: skip


# -- what the bars become ----------------------------------------------------------------------------------------------


def test_each_minute_is_a_whole_minute_row_with_its_own_prices(ask):
    ticks = ask("AAPL", 0, 3)
    assert set(ticks.symbols) == {"AAPL"}
    assert columns(ticks) == {
        "minute": [0, 1, 3], "close": [201.0, 199.5, 199.0], "volume": [500.0, 0.25, 10.0],
        "open": [200.0, 199.5, 199.0], "high": [202.0, 199.5, 199.0], "low": [200.0, 199.5, 199.0],
        "vwap": [201.4, 199.5, 199.0], "whole_minute": [1, 1, 1], "trade_count": [3, 1, 1],
    }  # fmt: skip


def test_pages_are_followed_to_the_last_one(ask, fake):
    assert columns(ask("AAPL", 0, 3))["minute"] == [0, 1, 3]
    assert len(fake.requests) == 3


def test_only_the_minutes_that_were_asked_for_come(ask):
    assert columns(ask("AAPL", 1, 2))["minute"] == [1]


def test_prices_are_asked_for_unadjusted(ask, fake):
    ask("BRK.B", 0, 0)
    assert fake.requests == [f"/v2/aggs/ticker/BRK.B/range/1/minute/{MINUTE}/{MINUTE}?adjusted=false&sort=asc&limit=1"]


def test_a_symbol_with_a_slash_stays_one_part_of_the_path(scripted):
    server, rest = scripted(page())
    rest.minute_bars("A/B?C", MINUTE, MINUTE)
    assert server.asked[0].startswith("/v2/aggs/ticker/A%2FB%3FC/range/1/minute/")


def test_a_symbol_that_nobody_knows_has_no_bar(scripted):
    _, rest = scripted((404, {}, b'{"status":"NOT_FOUND"}'))
    assert len(one_minute(rest)) == 0


def test_an_answer_without_results_is_no_bar(scripted):
    _, rest = scripted((200, {}, b'{"status":"OK","resultsCount":0}'))
    assert len(one_minute(rest)) == 0


def test_a_bar_outside_of_what_was_asked_for_is_left_out(scripted):
    _, rest = scripted(page(BAR, BAR | {"t": MINUTE + MINUTE_MS}))
    assert columns(one_minute(rest))["minute"] == [0]


def test_decimal_volume_text_wins_over_the_number(scripted):
    _, rest = scripted(page(BAR | {"v": 100, "dv": "100.25"}))
    assert one_minute(rest).size.tolist() == [100.25]


def test_a_long_time_is_asked_for_a_month_at_a_time(scripted):
    server, rest = scripted(page())
    rest.minute_bars("AAPL", MINUTE, MINUTE + 70 * 86_400_000)
    spans = [path.partition("?")[0].split("/")[-2:] for path in server.asked]
    assert spans == [
        [str(MINUTE), str(MINUTE + 30 * 86_400_000 - MINUTE_MS)],
        [str(MINUTE + 30 * 86_400_000), str(MINUTE + 60 * 86_400_000 - MINUTE_MS)],
        [str(MINUTE + 60 * 86_400_000), str(MINUTE + 70 * 86_400_000)],
    ]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"c": 0}, "price"), ({"h": None}, "price"), ({"l": -1}, "price"), ({"v": -5}, "size"), ({"vw": "x"}, "price"),
        ({"h": 9.0, "l": 12.0}, "price"), ({"v": 4e-7}, "size"), ({"v": "-0.1"}, "size"), ({"n": -3}, "size"),
        ({"n": 1.5}, "size"), ({"n": 1 << 31}, "size"), ({"n": True}, "size"), ({"n": "many"}, "size"),
    ],
)  # fmt: skip
def test_a_bar_that_is_none_is_refused_with_its_reason_and_the_others_stay(scripted, wrong, reason):
    later = BAR | {"t": MINUTE + MINUTE_MS}
    _, rest = scripted(page(BAR | wrong, later))
    ticks = rest.minute_bars("AAPL", MINUTE, MINUTE + MINUTE_MS)
    assert columns(ticks)["minute"] == [1]
    assert [refused.reason for refused in ticks.refused] == [reason]


def test_high_and_low_are_widened_to_hold_open_and_close_and_vwap_is_kept_between_them(scripted):
    wide = BAR | {"o": 8.5, "c": 12.5, "vw": 12.75}
    _, rest = scripted(page(wide, wide | {"t": MINUTE + MINUTE_MS, "vw": 8.25}))
    found = columns(rest.minute_bars("AAPL", MINUTE, MINUTE + MINUTE_MS))
    assert (found["high"], found["low"], found["vwap"]) == ([12.5, 12.5], [8.5, 8.5], [12.5, 8.5])


@pytest.mark.parametrize(("said", "count"), [({"n": 3}, 3), ({"n": 3.0}, 3), ({"n": "3"}, 3), ({"n": None}, 0)])
def test_the_count_of_trades_is_kept_and_is_none_where_the_vendor_says_none(scripted, said, count):
    _, rest = scripted(page(BAR | said))
    assert columns(one_minute(rest))["trade_count"] == [count]


# -- what may go wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "says"), [("next_url_loop", "next_url never ends"), ("next_url_elsewhere", "another host")]
)
def test_a_next_page_that_leads_astray_is_broken(ask, fake, what, says):
    fake.misbehave(what)
    with pytest.raises(RestBroken, match=says):
        ask("AAPL", 0, 0)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "ERROR", "results": [BAR]},
        {"status": "ERROR", "error": "try later"},
        {"status": "NOT_AUTHORIZED", "resultsCount": 0},
        {"results": [BAR]},
        {"status": "OK", "results": None},
        {"status": "OK", "results": None, "resultsCount": 0},
        {"status": "OK"},
        {"status": "OK", "resultsCount": 2},
        {"status": "OK", "resultsCount": 2, "results": []},
        {"status": "OK", "resultsCount": 2, "results": [BAR]},
        {"status": "OK", "resultsCount": 1, "results": [None]},
        {},
        [],
        None,
    ],
)
def test_no_answer_is_never_no_bars(scripted, answer):
    _, rest = scripted((200, {}, json.dumps(answer).encode()))
    with pytest.raises(RestBroken):
        one_minute(rest)


def test_a_plan_with_delayed_data_answers_too(scripted):
    _, rest = scripted(page(BAR, status="DELAYED", resultsCount=1))
    assert columns(one_minute(rest))["minute"] == [0]


def test_a_redirect_is_not_followed(scripted):
    server, rest = scripted((302, {"Location": "/elsewhere"}, b""))
    with pytest.raises(RestBroken, match="answers 302"):
        one_minute(rest)
    assert len(server.asked) == 1


def test_too_many_requests_are_waited_for_as_long_as_the_vendor_says(ask, fake, waits):
    fake.misbehave("429", times=2)
    assert columns(ask("AAPL", 0, 0))["close"] == [201.0]
    assert [round(wait) for wait in waits] == [0, 1, 1]


def test_a_quota_that_stays_used_up_ends_the_request(ask, fake):
    fake.misbehave("429")
    with pytest.raises(RestAway, match="quota"):
        ask("AAPL", 0, 0)
    assert len(fake.requests) == 10


def test_a_long_retry_after_is_handed_on_instead_of_waited_for(scripted, waits):
    _, rest = scripted((429, {"Retry-After": "3600"}, b""))
    with pytest.raises(RestAway) as away:
        one_minute(rest)
    assert away.value.after_s == 3600
    assert sum(waits) < 1


@pytest.mark.parametrize("retry_after", [{}, {"Retry-After": "soon"}, {"Retry-After": "Mon, 99 Foo 2026"}])
def test_too_many_requests_without_a_time_waits_for_the_smallest_plan(scripted, waits, retry_after):
    _, rest = scripted((429, retry_after, b""), page(BAR))
    assert len(one_minute(rest)) == 1
    assert round(waits[1]) == 12


def test_a_retry_after_in_the_past_is_no_wait(scripted, waits):
    _, rest = scripted((429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b""), page(BAR))
    assert len(one_minute(rest)) == 1
    assert sum(waits) < 1


@pytest.mark.parametrize("date", ["Wed, 21 Oct 2015 07:27:45 GMT", "Sat, 21 Oct 2096 07:27:45 GMT"])
def test_a_retry_after_that_is_a_time_is_one_of_the_vendors_clock(scripted, waits, date):
    until = date.replace(":27:45", ":28:05")
    _, rest = scripted((429, {"Date": date, "Retry-After": until}, b""), page(BAR))
    assert len(one_minute(rest)) == 1
    assert round(waits[1]) == 20


def test_a_failing_server_is_asked_again(ask, fake):
    fake.misbehave("5xx", times=4)
    assert columns(ask("AAPL", 0, 0))["close"] == [201.0]


def test_a_server_that_goes_on_failing_is_away(ask, fake):
    fake.misbehave("5xx")
    with pytest.raises(RestAway, match="fails: status 50"):
        ask("AAPL", 0, 0)
    assert len(fake.requests) == 5


def test_pauses_grow_between_failures(scripted, waits):
    _, rest = scripted((500, {}, b""))
    with pytest.raises(RestAway):
        one_minute(rest)
    pauses = [wait for wait in waits if wait > 0.4]
    assert [0.5 * most <= pause <= most for pause, most in zip(pauses, (1, 2, 4, 8), strict=True)] == [True] * 4


def test_half_an_answer_is_asked_for_again(scripted):
    status, _, body = page(BAR)
    server, rest = scripted((status, {"Content-Length": str(len(body) + 9), "Connection": "close"}, body), page(BAR))
    assert len(one_minute(rest)) == 1
    assert len(server.asked) == 2


def test_a_host_that_does_not_answer_is_away(waits):
    with Scripted((200, {}, b"")) as server:
        url = server.url
    rest = MassiveRest(url, KEY, per_minute=60_000, wait=waits)
    with pytest.raises(RestAway, match=r"127\.0\.0\.1 fails: "):
        one_minute(rest)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"results":[{"o":1}]}', b'{"results":7}', b""])
def test_an_answer_that_is_no_page_is_broken(scripted, body):
    _, rest = scripted((200, {}, body))
    with pytest.raises(RestBroken, match="not a page of bars"):
        one_minute(rest)


def test_a_stop_ends_the_waiting(fake):
    rest = MassiveRest(fake.rest_url, KEY, per_minute=60_000, wait=lambda _: True)
    with pytest.raises(RestStopped):
        one_minute(rest)
    assert fake.requests == []


# -- the key -----------------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_refused_and_says_what_to_do(fake, waits):
    rest = MassiveRest(fake.rest_url, uuid4().hex, per_minute=60_000, wait=waits)
    with pytest.raises(RestRefused, match="401: Unknown API Key: check the API key"):
        one_minute(rest)
    rest.close()


def test_no_error_repeats_a_key_that_the_vendor_quotes(scripted):
    body = json.dumps({"error": f"Unknown API Key {KEY}"}).encode()
    _, rest = scripted((403, {}, body))
    with pytest.raises(RestRefused, match=r"Unknown API Key \*\*\*"):
        one_minute(rest)


def test_the_key_stands_in_no_log_line_and_no_repr(ask, fake, caplog):
    caplog.set_level(logging.DEBUG, "urllib3")
    with structlog.testing.capture_logs() as logged:
        for what in ("429", "5xx"):
            fake.misbehave(what, times=2)
            ask("AAPL", 0, 3)
    rest = MassiveRest(fake.rest_url, KEY, per_minute=60_000, wait=Waits())
    assert "GET /v2/aggs" in caplog.text
    assert KEY not in caplog.text + repr(logged) + repr(rest) + repr(rest._client)


def test_the_key_does_not_travel_in_the_clear(waits):
    with pytest.raises(UsageError, match="in the clear"):
        MassiveRest("http://api.massive.com", KEY, per_minute=5, wait=waits)


@pytest.mark.parametrize("url", ["", "massive", "ftp://host", "https://"])
def test_an_address_that_is_none_is_refused(url, waits):
    with pytest.raises(UsageError, match="REST address"):
        MassiveRest(url, KEY, per_minute=5, wait=waits)


# -- the bucket --------------------------------------------------------------------------------------------------------


def test_five_a_minute_come_twelve_seconds_apart():
    bucket = TokenBucket(5)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 12.0, 24.0]


def test_time_that_passes_fills_the_bucket_up_to_one_second_worth():
    bucket = TokenBucket(600)
    assert [bucket.take(0.0) for _ in range(11)] == pytest.approx([0.0] * 10 + [0.1])
    assert [bucket.take(1000.0) for _ in range(11)] == pytest.approx([0.0] * 10 + [0.1])


def test_a_pause_lets_nothing_through_before_it_is_over():
    bucket = TokenBucket(600)
    bucket.pause(0.0, 30.0)
    assert bucket.take(10.0) == pytest.approx(20.0)


# -- answers of no API -------------------------------------------------------------------------------------------------

PAGE_OF_A_PROXY = b"<html><body>502 Bad Gateway</body></html>"


@pytest.mark.parametrize("status", [300, 301, 307, 308, 400, 404, 405, 410, 418, 451])
def test_a_page_of_a_proxy_is_no_answer_and_names_the_address_once(scripted, status):
    server, rest = scripted((status, {"Location": f"/login?apiKey={KEY}"}, PAGE_OF_A_PROXY))
    with pytest.raises(RestBroken) as raised:
        one_minute(rest)
    assert str(raised.value).startswith(f"127.0.0.1 answers {status}: no JSON: ")
    assert f"({server.url}/v2/aggs/ticker/AAPL/" in str(raised.value)
    assert KEY not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refusal_without_json_says_what_to_do_and_where(scripted, status):
    server, rest = scripted((status, {}, PAGE_OF_A_PROXY))
    with pytest.raises(RestRefused) as raised:
        one_minute(rest)
    assert f"answers {status}: no JSON: check the API key" in str(raised.value)
    assert server.url in str(raised.value)


def test_a_host_that_fails_is_named_with_its_address_and_no_query(scripted):
    server, rest = scripted((599, {}, PAGE_OF_A_PROXY))
    with pytest.raises(RestAway) as raised:
        one_minute(rest)
    assert str(raised.value).startswith(f"127.0.0.1 fails: status 599 ({server.url}/v2/aggs/ticker/AAPL/")
    assert "?" not in str(raised.value)
