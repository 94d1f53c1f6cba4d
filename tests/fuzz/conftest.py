import os

import pytest
from fuzzing import SECONDS, TARGETS, Tally
from hypothesis import configuration


@pytest.fixture(scope="session", autouse=True)
def no_folder_beside_the_sources(tmp_path_factory):
    configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


@pytest.fixture(params=["fixed", pytest.param("hour", marks=pytest.mark.slow)])
def tally(request, record_property):
    """Count what a test's inputs come to; the last lines of the run show it."""
    seconds = float(os.environ.get(SECONDS, "3600")) / TARGETS if request.param == "hour" else None
    counted = Tally(request.node.originalname.removeprefix("test_"), seconds)
    yield counted
    record_property("fuzz", (counted.line, sorted(counted.outcomes.items())))
