"""compose.yaml and what lies over it, as Compose reads them; and what the image brings."""

import json
import re
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "compose"
WHOLE = ROOT / "compose.yaml"
OVERLAYS = sorted(COMPOSE.glob("*.yaml"))
FILES = [WHOLE, *OVERLAYS]
IMAGE = "tickstockpl:local"


def variables_of(file):
    """Read a file of variables, as .env is one."""
    return dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE))


def said_by(file, variables):
    """Read a compose file as compose does: variables or their defaults, and $$ as $."""

    def value(found):
        name, otherwise, default = found.groups()
        assert otherwise == "-", f"{name} has no default"  # `docker compose up` works with nothing set
        return variables.get(name, default)

    text = re.sub(r"\$\{(\w+):([-?])([^}]*)\}", value, file.read_text())
    return YAML(typ="safe").load(text.replace("$$", "$"))


SAID = said_by(WHOLE, {})
SERVICES = SAID["services"]
SECRETS = SERVICES["secrets"]
OURS = [name for name, service in SERVICES.items() if service["image"] == IMAGE]


def image_environment():
    """Read ENV of the image's last stage."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


def image_health_check():
    """Read HEALTHCHECK of the image's last stage."""
    (command,) = re.findall(
        r"^HEALTHCHECK (?:.*\\\n)*.*CMD (\[.*\])$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE
    )
    return json.loads(command)
