"""A group of commands each of which is imported when it is asked for: they need different halves of the program."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose command NAME stands in the module `modules[NAME]` of this folder."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names."""
        return sorted(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        """Import a command; None where there is none of this name."""
        if cmd_name not in self.modules:
            return None
        command: click.Command = getattr(import_module(f".{self.modules[cmd_name]}", __package__), _attribute(cmd_name))
        return command


def _attribute(name: str) -> str:
    return name.replace("-", "_")
