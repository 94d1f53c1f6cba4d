"""What Compose refuses although the schema has it: the rules of its loader, compose-go.

Written from its source (`loader/validate.go`, `validation/`) as of v2, 2024 to 2026. `docker compose config` holds them
too; this needs no program of it.
"""

import ipaddress
from copy import deepcopy
from typing import Any

# What a later file replaces as a whole; other lists are joined (compose-spec, "Merge").
_REPLACED = {"command", "entrypoint", "test"}

# A service's own word, beside the same under deploy.resources: both are given, and alike, or the own one is not.
_SAID_TWICE = {
    "cpus": ("limits", "cpus"),
    "mem_limit": ("limits", "memory"),
    "mem_reservation": ("reservations", "memory"),
    "pids_limit": ("limits", "pids"),
}


def merged(*files):
    """Return several files as one, the later ones over the earlier ones."""
    whole: dict[str, Any] = {}
    for file in files:
        _merge(whole, deepcopy(file))
    return whole


def _merge(into, other):
    for name, value in other.items():
        if isinstance(into.get(name), dict) and isinstance(value, dict):
            _merge(into[name], value)
        elif isinstance(into.get(name), list) and isinstance(value, list) and name not in _REPLACED:
            into[name] = [*into[name], *(item for item in value if item not in into[name])]
        else:
            into[name] = value


def broken_rules(project):
    """Yield a line for each rule of compose-go that a project breaks."""
    for name, service in project["services"].items():
        for rule in (_image, _names, _limits, _scale, _health, _mounts, _ports):
            yield from (f"{name}: {line}" for line in rule(service, project))
    for kind in ("secrets", "configs"):
        for name, said in (project.get(kind) or {}).items():
            yield from (f"{kind}.{name}: {line}" for line in _content(said))
    yield from _cycles(project["services"])


def _image(service, _):
    if not service.get("image") and not service.get("build"):
        yield "neither image nor build"
    build = service.get("build")
    if isinstance(build, dict) and {"dockerfile", "dockerfile_inline"} <= build.keys():
        yield "dockerfile and dockerfile_inline exclude each other"


def _names(service, project):
    if service.get("network_mode") and service.get("networks"):
        yield "network_mode and networks exclude each other"
    for kind in ("networks", "secrets", "configs"):
        for item in service.get(kind) or ():
            used = item["source"] if isinstance(item, dict) else item
            if used not in (project.get(kind) or {}) and used != "default":
                yield f"{kind} has no {used}"
    for source, _target in _volumes(service):
        if source and source[:1] not in "./~" and source not in (project.get("volumes") or {}):
            yield f"volumes has no {source}"
    for needed in service.get("depends_on") or ():
        if needed not in project["services"]:
            yield f"depends on {needed}, which is no service"


def _limits(service, _):
    resources = (service.get("deploy") or {}).get("resources") or {}
    for own, (kind, name) in _SAID_TWICE.items():
        if own in service and kind in resources and resources[kind].get(name) != service[own]:
            yield f"{own} and deploy.resources.{kind}.{name} differ"


def _scale(service, _):
    replicas = (service.get("deploy") or {}).get("replicas")
    scale = service.get("scale", replicas)
    if replicas is not None and scale != replicas:
        yield "scale and deploy.replicas differ"
    if scale is not None and int(scale) < 0:
        yield "scale is negative"
    if scale is not None and int(scale) > 1 and "container_name" in service:
        yield "container_name of a service with more than one container"


def _health(service, _):
    test = (service.get("healthcheck") or {}).get("test")
    if isinstance(test, list) and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        yield "healthcheck.test begins with CMD, CMD-SHELL or NONE"


def _mounts(service, _):
    tmpfs = service.get("tmpfs") or ()
    targets = [mount.partition(":")[0] for mount in ([tmpfs] if isinstance(tmpfs, str) else tmpfs)]
    targets += [target for _, target in _volumes(service)]
    yield from (f"{target} is mounted twice" for target in sorted({t for t in targets if targets.count(t) > 1}))


def _volumes(service):
    for volume in service.get("volumes") or ():
        if isinstance(volume, dict):
            yield volume.get("source", ""), volume["target"]
        else:
            parts = volume.split(":")
            yield ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def _ports(service, _):
    for port in service.get("ports") or ():
        host = port.get("host_ip") if isinstance(port, dict) else "".join(port.rpartition(":")[0].rpartition(":")[0])
        try:
            ipaddress.ip_address(host or "0.0.0.0")
        except ValueError:
            yield f"port {port}: {host} is no address"


def _content(said):
    given = said.keys() & {"file", "environment", "content"}
    if len(given) > 1:
        yield "more than one of file, environment and content"
    if not given and not said.keys() & {"external", "driver"}:
        yield "none of file and environment"


def _cycles(services):
    def waits_for(name, seen):
        for needed in services.get(name, {}).get("depends_on") or ():
            if needed == seen[0]:
                yield f"{' -> '.join(seen)} -> {needed}: a cycle"
            elif needed not in seen:
                yield from waits_for(needed, [*seen, needed])

    for name in services:
        yield from waits_for(name, [name])
