"""compose.yaml and compose/: read, and held to the rules of the programs that run them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compose_files import (
    COMPOSE,
    FILES,
    IMAGE,
    OURS,
    OVERLAYS,
    ROOT,
    SAID,
    SECRETS,
    SERVICES,
    WHOLE,
    said_by,
    variables_of,
)
from compose_rules import broken_rules, merged
from tickstockpl.ops.process.healthcheck import _WITHIN_S

BIN = Path(sys.executable).parent


def test_the_compose_files_are_what_the_specification_says():
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *map(str, FILES)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_the_dockerfile_has_no_finding():
    ran = subprocess.run(
        [str(BIN / "hadolint"), str(COMPOSE / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "")


EVERY_SERVICE = merged(SAID, *(said_by(file, {}) for file in OVERLAYS))["services"]
SETS = [(), *((overlay,) for overlay in OVERLAYS), tuple(OVERLAYS)]


@pytest.mark.parametrize("overlays", SETS, ids=lambda overlays: "+".join(file.stem for file in overlays) or "alone")
def test_the_compose_files_keep_the_rules_of_compose(overlays):
    assert list(broken_rules(merged(SAID, *(said_by(file, {}) for file in overlays)))) == []


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"pids_limit": 128, "deploy": {"resources": {"limits": {"memory": "1g"}}}}, "limits.pids differ"),
        ({"mem_limit": "1g", "deploy": {"resources": {"limits": {"memory": "2g"}}}}, "limits.memory differ"),
        ({"cpus": 1, "deploy": {"resources": {"limits": {"pids": 5}}}}, "limits.cpus differ"),
        ({"mem_reservation": "1g", "deploy": {"resources": {"reservations": {}}}}, "reservations.memory differ"),
        ({"image": None}, "neither image nor build"),
        ({"build": {"dockerfile": "x", "dockerfile_inline": "FROM x"}}, "exclude each other"),
        ({"network_mode": "none", "networks": ["known"]}, "network_mode and networks"),
        ({"networks": ["other"]}, "networks has no other"),
        ({"secrets": ["other"]}, "secrets has no other"),
        ({"volumes": ["other:/x"]}, "volumes has no other"),
        ({"volumes": ["./here:/x"], "tmpfs": ["/x:mode=1777"]}, "/x is mounted twice"),
        ({"depends_on": ["other"]}, "which is no service"),
        ({"depends_on": ["b"]}, "a -> b -> a: a cycle"),
        ({"healthcheck": {"test": ["wget"]}}, "begins with CMD"),
        ({"scale": 2, "deploy": {"replicas": 3}}, "scale and deploy.replicas differ"),
        ({"scale": -1}, "negative"),
        ({"deploy": {"replicas": 2}, "container_name": "x"}, "container_name of a service"),
        ({"ports": ["localhost:1:1"]}, "localhost is no address"),
    ],
)
def test_each_rule_of_compose_finds_what_breaks_it(service, said):
    sound = {"services": {"a": {"image": "a"}, "b": {"image": "b", "depends_on": ["a"]}}, "networks": {"known": None}}
    assert list(broken_rules(sound)) == []
    assert said in "\n".join(broken_rules(merged(sound, {"services": {"a": service}})))


def test_a_secret_of_a_project_has_one_content():
    for said in ({}, {"file": "x", "environment": "X"}):
        assert list(broken_rules({"services": {}, "secrets": {"a": said}})) != []


@pytest.mark.parametrize("overlays", SETS, ids=lambda overlays: "+".join(file.stem for file in overlays) or "alone")
def test_compose_itself_takes_the_files(overlays, compose_program):
    files = [word for file in (WHOLE, *overlays) for word in ("--file", str(file))]
    ran = subprocess.run(
        [*compose_program, *files, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.fixture(scope="session")
def compose_program():
    """Give the command of Compose, which needs no engine to read files; skip the test where there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        asked = shutil.which(command[0]) and subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, check=False
        )
        if asked and asked.returncode == 0 and int(asked.stdout.lstrip("v").partition(".")[0]) >= 2:
            return command
    pytest.skip("no Compose of version 2 or later here")


def test_every_file_that_is_mounted_or_built_from_is_there():
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, inside, *_ = volume.split(":")
            if source in SAID["volumes"]:
                continue
            assert (ROOT / source).exists(), f"{name}: {source}"
            for word in service.get("command", ()):  # what its command line names inside
                place = word.partition("=")[2] or word
                if place.startswith(f"{inside}/"):
                    assert (ROOT / source / place.removeprefix(f"{inside}/")).exists(), word
    build = SECRETS["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).exists()


def test_one_service_builds_the_image_and_every_other_one_of_ours_waits_for_it():
    assert [name for name in OURS if "build" in SERVICES[name]] == ["secrets"]
    assert all(SERVICES[name]["pull_policy"] == "never" for name in OURS)

    def waits_for(name):
        needed = set(SERVICES[name].get("depends_on", ()))
        return needed.union(*map(waits_for, needed))

    # An operator's commands and `run --no-deps` come after an `up`.
    assert [name for name in OURS if "secrets" not in waits_for(name)] == ["secrets", "operator"]


def test_a_service_is_handed_what_it_reads_and_mounts_nothing_of_another():
    handed = dict(word.removeprefix("--hand-out=").split("=") for word in SECRETS["command"] if "hand-out" in word)
    mounted = dict(volume.split(":") for volume in SECRETS["volumes"] if volume.startswith("secrets-"))
    for name, service in EVERY_SERVICE.items():
        read = set(re.findall(r"/run/secrets/([\w.]+)", json.dumps(service)))
        if name == "timescaledb":
            read.add("database_password")  # by compose/postgres/10-role.sh
        volumes = [v for v in service.get("volumes", ()) if v.endswith(":/run/secrets:ro")]
        assert bool(volumes) == bool(read), name
        if read:
            assert volumes == [f"secrets-{name}:/run/secrets:ro"]
            given = handed.pop(mounted.pop(f"secrets-{name}")).split(",")
            assert {secret.rstrip("?") for secret in given} == read, name
    assert (handed, mounted) == ({}, {})


@pytest.mark.parametrize("name", EVERY_SERVICE)
def test_a_service_is_confined_pinned_and_watched(name):
    service = EVERY_SERVICE[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service.get("cap_add", []) == (["DAC_READ_SEARCH"] if name == "secrets" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"]
    assert service["image"] == IMAGE or re.fullmatch(r".+:v?\d+\.\d+\.\d+[\w.-]*", service["image"])
    assert name in OURS or "test" in service["healthcheck"]  # ours have the image's
    assert [v for v in service.get("environment", {}) if "PASSWORD" in v and not v.endswith("_FILE")] == []


@pytest.mark.parametrize("source", ["synthetic", "massive"])
def test_a_file_for_env_names_the_files_of_its_source(source):
    variables = variables_of(COMPOSE / f"{source}.env")
    said = merged(*(said_by(ROOT / name, variables) for name in variables["COMPOSE_FILE"].split(":")))
    assert said["services"]["producer"]["environment"]["TICKSTOCK_SOURCE"] == source


def test_what_is_started_without_the_file_of_the_live_market_is_another_project():
    """No command that forgets its .env may send a synthetic market into the live one's tables."""
    assert SERVICES["producer"]["environment"]["TICKSTOCK_SOURCE"] == "synthetic"
    assert variables_of(COMPOSE / "massive.env")["COMPOSE_PROJECT_NAME"] != SAID["name"]


def test_the_live_market_needs_its_key():
    said = said_by(COMPOSE / "massive.yaml", {})["services"]
    assert said["secrets"]["environment"] == {"TICKSTOCK_NEEDED_SECRETS": "massive_api_key"}
    assert said["producer"]["environment"]["MASSIVE_API_KEY_FILE"] == "/run/secrets/massive_api_key"
    assert any(
        word.startswith("--hand-out=/secrets/producer=") and "massive_api_key?" in word for word in SECRETS["command"]
    )


@pytest.mark.parametrize(("service", "usual"), [("worker", 4), ("jobs", 1)])
def test_as_many_workers_and_jobs_start_as_the_variable_says(service, usual):
    assert SERVICES[service]["deploy"]["replicas"] == usual
    said = said_by(WHOLE, {f"TICKSTOCK_{service.upper()}_REPLICAS": "6"})
    assert said["services"][service]["deploy"]["replicas"] == 6


def test_a_health_check_has_time_on_a_busy_machine():
    def seconds(text):
        return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]

    said = [service["healthcheck"] for service in SERVICES.values() if "test" in service.get("healthcheck", {})]
    image = dict(re.findall(r"--(interval|timeout|start-period|retries)=(\w+)", (COMPOSE / "Dockerfile").read_text()))
    said.append({name.replace("-", "_"): value for name, value in image.items()})
    for check in said:
        assert (seconds(check["timeout"]) >= 30, seconds(check["start_period"]) >= 120) == (True, True), check
    assert min(seconds(check["timeout"]) for check in said) > _WITHIN_S


@pytest.mark.parametrize(("service", "name"), [("worker", "CONSUMER"), ("jobs", "JOBS_NAME")])
def test_workers_and_jobs_can_be_scaled(service, name):
    assert SERVICES[service].keys() & {"container_name", "hostname", "ports"} == set()
    assert not any(variable.endswith(name) for variable in SERVICES[service]["environment"])


def test_the_image_gets_every_folder_and_runs_as_nobody_of_note():
    allowed = set(re.findall(r"^!(\S+)$", (COMPOSE / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert (
        folders | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE", "py.typed", "*.py"} == allowed
    )
    assert re.findall(r"^USER (\S+)$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE) == ["10001:10001"]


def test_services_stop_in_the_order_in_which_the_ticks_come():
    needs = {name: set(service.get("depends_on", ())) for name, service in SERVICES.items()}
    assert "worker" in needs["producer"]
    assert "bridge" in needs["worker"]
    assert "bridge" in needs["jobs"]
    assert needs["bridge"] == {"redis", "timescaledb", "migrate"}
    assert needs["redis"] == needs["timescaledb"] == {"secrets"}
