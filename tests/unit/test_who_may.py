"""Who may call the HTTP API: the name that was called, the page that asks, the key."""

import pytest
from litestar import Request
from litestar.exceptions import HTTPException
from tickstockpl.ops.api.who_may import is_loopback, rules_of

OPEN = rules_of(names=["api"], origins=["https://page.example"], api_key=None)
CLOSED = rules_of(names=[], origins=[], api_key="secret")


def asked(method="GET", **headers):
    """Make a request. Names of headers are given with underscores."""
    given = {"host": "localhost:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    return Request({"type": "http", "method": method, "path": "/", "headers": raw, "state": {}})


def code_of(rules, request):
    """Return the code of the refusal; 200 where there is none."""
    try:
        rules.check(request)
    except HTTPException as e:
        return e.status_code
    return 200


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:8080", 200), ("LOCALHOST", 200), ("127.0.0.1:8080", 200), ("[::1]:8080", 200), ("10.1.2.3", 200),
        ("api:8080", 200), ("evil.example:8080", 421), ("localhost.evil.example", 421), ("", 421), ("[::", 421),
        ("localhost@evil.example", 421),
    ],
)  # fmt: skip
def test_a_name_that_others_bound_to_our_address_is_refused(host, code):
    assert code_of(OPEN, asked(host=host)) == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),
        ({"origin": "http://localhost:8080"}, 200),
        ({"origin": "https://localhost:8080"}, 200),  # a proxy speaks TLS before us
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://page.example"}, 200),
        ({"origin": "https://page.example.evil.example"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200),  # a link to us
        ({"sec_fetch_site": "cross-site", "origin": "https://page.example"}, 200),
    ],
)
def test_pages_of_other_sites_are_refused(headers, code):
    assert code_of(OPEN, asked(**headers)) == code


def test_a_form_of_another_page_that_navigates_is_refused():
    headers = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert code_of(OPEN, asked("POST", **headers)) == 403


@pytest.mark.parametrize(
    ("kind", "code"),
    [("application/json", 200), ("application/json; charset=utf-8", 200), ("text/plain", 415), ("", 415)],
)
def test_what_is_written_must_be_json(kind, code):
    assert code_of(OPEN, asked("POST", content_type=kind)) == code


@pytest.mark.parametrize(
    ("method", "key", "code"),
    [("GET", "", 200), ("POST", "secret", 200), ("POST", "", 401), ("POST", "secret2", 401), ("DELETE", "Secret", 401),
     ("POST", "sécret", 401)],
)  # fmt: skip
def test_a_write_needs_the_key_and_a_read_does_not(method, key, code):
    assert code_of(CLOSED, asked(method, x_api_key=key)) == code


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("db.example", False)],
)
def test_what_is_loopback(host, expected):
    assert is_loopback(host) == expected
