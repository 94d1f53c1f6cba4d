"""The API called in every way that its document allows, and in some that it does not: it answers as documented."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from tickstockpl.ops.api.app import openapi_document

from .test_api import served

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
EXAMPLES = 12  # of each call, of each mode
STREAM = "/events"  # it does not end
SCHEMA = schemathesis.openapi.from_dict(openapi_document())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations() if found.ok().path != STREAM]
WITH_INPUT = [one for one in OPERATIONS if list(one.body) + list(one.query) + list(one.path_parameters)]
CASES = [
    *((one, GenerationMode.POSITIVE) for one in OPERATIONS),
    *((one, GenerationMode.NEGATIVE) for one in WITH_INPUT),  # of the others nothing can be wrong
]


@pytest.fixture(scope="module")
def api(module_servers):
    with served(module_servers) as one:
        yield one


@pytest.mark.parametrize(("operation", "mode"), CASES, ids=[f"{one.label} {mode.value}" for one, mode in CASES])
def test_each_call_answers_as_documented(api, operation, mode):
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case):
        response = case.call(base_url=api.url)
        case.validate_response(response, checks=CHECKS)

    try:
        call()
    except Unsatisfiable:  # each text may be a job_id: this call cannot be wrong
        assert (operation.label, mode) == ("DELETE /api/backtests/{job_id}", GenerationMode.NEGATIVE)
