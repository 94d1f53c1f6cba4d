"""The document of the HTTP API: the committed one is what the program says, and every call of the contract is in it."""

import json
from pathlib import Path

import pytest
import tickstockpl
from tickstockpl.ops.api.app import openapi_document

CALLS = {
    "POST /api/processing/trigger-manual", "POST /api/processing/trigger-import",
    "POST /api/processing/trigger-indicators", "POST /api/processing/trigger-patterns",
    "POST /api/processing/retry-imports", "GET /api/processing/status", "GET /api/processing/history",
    "DELETE /api/processing/cancel", "GET /api/processing/schedule", "POST /api/processing/schedule",
    "POST /api/processing/cache-sync/trigger", "GET /api/processing/cache-sync/status/{job_id}",
    "GET /api/processing/cache-sync/history", "GET /api/processing/cache-sync/stats", "GET /health",
    "GET /api/fleet", "GET /api/fleet/hour", "GET /api/ledger",
    "GET /api/bars", "GET /api/patterns", "GET /api/indicators", "GET /api/gaps",
    "GET /api/dead-letters", "GET /api/symbols", "GET /api/definitions", "GET /events", "POST /api/backtests",
    "GET /api/backtests", "GET /api/backtests/{job_id}", "DELETE /api/backtests/{job_id}",
}  # fmt: skip


@pytest.fixture(scope="module")
def document():
    return json.loads(json.dumps(openapi_document()))


def test_the_committed_document_is_what_tickstock_openapi_prints(document):
    committed = Path(tickstockpl.__file__).parent / "docs" / "openapi.json"
    assert json.loads(committed.read_text(encoding="utf-8")) == document


def test_every_call_is_in_it_and_no_other(document):
    found = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert (document["openapi"], found) == ("3.1.0", CALLS)


def test_a_post_answers_200_and_its_body_is_optional(document):
    for path, methods in document["paths"].items():
        if "post" in methods:
            code = "202" if path.endswith("cache-sync/trigger") else "200"
            assert [c for c in methods["post"]["responses"] if c < "300"] == [code], path
            assert methods["post"]["requestBody"]["required"] == path.endswith(("/retry-imports", "/backtests"))
