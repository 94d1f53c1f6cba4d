"""The contract check hears what is wrong: in a message, in the order of messages, and in silence."""

import copy
import json
import signal
import subprocess
import sys
from threading import Thread

import pytest
import redis
from click.testing import CliRunner
from tickstockpl.contracts.accepted.acceptance import ACCEPTED, first_violation
from tickstockpl.ops.cli.channels.contract_command import contract
from tickstockpl.ops.jobs.contract_check import Received, is_good, report

PATTERNS = "tickstock.events.patterns"
HEALTH = "tickstock:streaming:health"


@pytest.fixture
def sample_of(samples):
    """Give a function that returns a copy of the first sample of a channel, or of one of its kinds."""

    def find(channel, kind=None):
        found = next(s for s in samples if s.channel == channel and kind in {None, s.kind})
        return copy.deepcopy(found.message)

    return find


def heard_of(*messages):
    heard = Received()
    for channel, message in messages:
        heard.take(channel, message if isinstance(message, bytes) else json.dumps(message).encode())
    return heard


def test_the_accepted_shapes_are_those_of_the_samples_channels(samples):
    assert set(ACCEPTED) == {s.channel for s in samples}


def test_each_sample_is_accepted(sample):
    assert first_violation(sample.channel, sample.message) is None


def test_a_sample_is_not_accepted_without_any_one_of_its_keys(sample):
    for path in paths_in(sample.message):
        if path == ("result_id",) or (path == ("flow_id",) and sample.channel != PATTERNS):
            continue  # additive
        damaged = copy.deepcopy(sample.message)
        del at(damaged, path[:-1])[path[-1]]
        assert first_violation(sample.channel, damaged) or is_free(path) or is_a_name(path), path


def test_a_sample_is_not_accepted_with_a_list_in_place_of_any_one_value(sample):
    for path in paths_in(sample.message):
        damaged = copy.deepcopy(sample.message)
        at(damaged, path[:-1])[path[-1]] = [[]]
        assert first_violation(sample.channel, damaged) or is_free(path), path


def is_free(path):
    """Tell whether a path lies in an object whose keys are open: a component's details, an error's context."""
    open_objects = {"details", "context", "parameters", "results"}
    return bool(open_objects & set(path[:-1])) or (
        path[0] == "data" and path[-1] in {"last_commit_age_s", "lag_entries"}
    )


def is_a_name(path):
    """Tell whether a path's last key is a name that is left to us: an output's, a checked part's, a universe's."""
    return path[-2:-1] in {("values",), ("universes",)} or path[:-1] == ("health", "components")


def paths_in(node, path=()):
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            yield from paths_in(value, (*path, key))


def at(node, path):
    for key in path:
        node = node[key]
    return node


def test_an_extra_key_is_not_accepted(sample):
    assert first_violation(sample.channel, {**sample.message, "extra": 1}) == "extra: is not a key of this message"


@pytest.mark.parametrize(
    ("channel", "path", "wrong", "says"),
    [
        (PATTERNS, "data.timestamp", "2025-11-21T14:31:00+00:00", "Unix seconds as a number"),
        (PATTERNS, "timestamp", 1763735460250, "Unix seconds as a number"),
        (PATTERNS, "data.confidence", 85.0, "0..1"),
        (PATTERNS, "data.current_price", "185.5", "a number"),
        (PATTERNS, "data.volume", True, "a number"),
        (PATTERNS, "data.source", "TickStockPL", "differs from data.tier"),
        (PATTERNS, "data.flow_id", "uuid-here", "a uuid"),
        (PATTERNS, "event_type", "pattern", "'pattern_detected'"),
        (PATTERNS, "seq", 0, "from 1"),
        ("tickstock:patterns:detected", "detection.confidence", 0.79, "below 0.8"),
        ("tickstock:patterns:streaming", "timestamp", "2025-11-21T14:31:00", "ISO 8601 time in UTC"),
        ("tickstock:patterns:streaming", "timestamp", 1763735460.25, "ISO 8601 time in UTC"),
        (HEALTH, "status", "good", "'healthy' or"),
        (HEALTH, "health.active_symbols", 68, "differs from active_symbols"),
        (HEALTH, "issues", [{"code": "a", "message": "b"}], "issues[0].since"),
        ("tickstock:streaming:session_started", "session.status", "active ", "'active'"),
        ("tickstock:errors", "payload.error_message", "other", "differs from message"),
        ("tickstock:errors", "category", "weather", "'pattern' or"),
        ("tickstock:monitoring", "event_type", "METRICS", "is not one of METRIC_UPDATE"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(channel, path, wrong, says, sample_of):
    message = sample_of(channel)
    *above, last = path.split(".")
    at(message, above)[last] = wrong
    found = first_violation(channel, message)
    assert found.startswith(path.split("[")[0])
    assert says in found


def test_a_session_that_differs_between_its_two_places_is_found(sample_of):
    message = sample_of("tickstock:streaming:session_started")
    message["data"]["symbol_count"] = 71
    assert first_violation("tickstock:streaming:session_started", message) == "data: differs from session"


def test_pattern_name_in_place_of_pattern_is_found(sample_of):
    message = sample_of(PATTERNS)
    message["data"]["pattern_name"] = message["data"].pop("pattern")
    assert first_violation(PATTERNS, message) == "data.pattern: is missing"


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"null", b'{"a":', b'{"a":"\xff"}', b'{"seq":NaN}'])
def test_what_is_no_json_object_is_a_violation(body):
    heard = heard_of((HEALTH, body))
    assert heard.violations[HEALTH] == 1
    assert not is_good(heard)


def test_the_report_names_a_channels_first_violation(sample_of):
    late = {**sample_of(HEALTH), "status": "late"}
    lines = list(report(heard_of((HEALTH, sample_of(HEALTH)), (HEALTH, late), (HEALTH, b"x"))))
    row = next(line for line in lines if line.startswith(HEALTH))
    assert row.split()[1:4] == ["3", "1", "0"]
    assert "status: str 'late'" in row
    assert lines[-1] == "2 of 3 messages are not as the application accepts them"


def test_a_hole_in_seq_is_counted_and_is_no_violation(sample_of):
    heard = heard_of(*((HEALTH, {**sample_of(HEALTH), "seq": seq}) for seq in (4, 5, 9)))
    assert is_good(heard)
    assert list(report(heard))[-1].endswith("3 messages were missed by this listener")


def test_a_new_epoch_that_does_not_begin_at_1_has_a_hole(sample_of):
    places = ((7, 5), (8, 3))
    heard = heard_of(*((HEALTH, {**sample_of(HEALTH), "epoch": epoch, "seq": seq}) for epoch, seq in places))
    assert heard.sequences.missed[HEALTH] == 2


def test_a_repeated_seq_is_reported(sample_of):
    heard = heard_of(*((HEALTH, {**sample_of(HEALTH), "seq": seq}) for seq in (4, 4)))
    assert any(line.startswith(f"out of order: {HEALTH}") for line in report(heard))


def test_the_applications_own_probes_are_left_out():
    heard = heard_of((PATTERNS, {"test": "permission_check"}), ("tickstock.health.status", {"test": "health_check"}))
    assert heard.probes == 2
    assert not heard.messages.total()
    assert not is_good(heard)


def run_check(servers, seconds):
    environment = {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
    return CliRunner().invoke(contract, ["check", "--seconds", str(seconds)], env=environment)


def test_silence_fails_and_says_what_to_do(migrated_servers):
    run = run_check(migrated_servers, 0.3)
    assert run.exit_code == 1
    assert "start `tickstock-bridge`" in run.output


def test_ctrl_c_reports_what_was_heard_until_then(migrated_servers, wait_for):
    environment = {"REDIS_URL": migrated_servers.redis_url, "DATABASE_URL": migrated_servers.database_url}
    command = [sys.executable, "-m", "tickstockpl.ops", "contract", "check", "--seconds", "600"]
    with (
        redis.Redis.from_url(migrated_servers.redis_url) as client,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        wait_for(lambda: client.pubsub_numsub(*ACCEPTED)[-1][1])
        process.send_signal(signal.SIGINT)
        said, notes = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "no message arrived" in said
    assert "stopped after 0 of 600 s" in notes
    assert "Traceback" not in notes


def test_every_sample_said_on_a_real_redis_is_heard_as_valid(migrated_servers, samples, wait_for):
    run = speak_while_checking(migrated_servers, wait_for, [(s.channel, s.message) for s in numbered(samples)])
    assert run.exit_code == 0, run.output
    assert f"all {len(samples)} messages are as the application accepts them" in run.output


def test_one_wrong_message_on_a_real_redis_fails(migrated_servers, sample_of, wait_for):
    wrong = sample_of(PATTERNS)
    wrong["data"]["timestamp"] = "2025-11-21T14:31:00Z"
    run = speak_while_checking(migrated_servers, wait_for, [(HEALTH, sample_of(HEALTH)), (PATTERNS, wrong)])
    assert run.exit_code == 1
    assert "data.timestamp" in run.output


def numbered(samples):
    """Number the messages of each channel from 1, as the publisher does."""
    seen = {}
    for sample in samples:
        seen[sample.channel] = seen.get(sample.channel, 0) + 1
        yield sample._replace(message={**sample.message, "seq": seen[sample.channel]})


def speak_while_checking(servers, wait_for, messages):
    """Publish messages as soon as the check listens; return how it ended."""

    def speak():
        with redis.Redis.from_url(servers.redis_url) as client:
            wait_for(lambda: client.pubsub_numsub(*ACCEPTED)[-1][1])
            for channel, message in messages:
                client.publish(channel, json.dumps(message))

    speaker = Thread(target=speak)
    speaker.start()
    run = run_check(servers, 4.0)
    speaker.join()
    return run
