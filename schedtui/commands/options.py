"""Options and kinds of values that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
LONGEST_S = 7 * 86400.0


class Duration(click.ParamType[float]):
    """Seconds, from ``5``, ``5s``, ``500ms``, ``2m``; a week at most."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip())
        if not matched or matched[2] not in _UNITS:
            self.fail(f"“{value}” is no duration; write 5s, 500ms or 2m.", param, ctx)
        seconds = float(matched[1]) * _UNITS[matched[2]]
        if not 0 < seconds <= LONGEST_S:
            self.fail(f"“{value}” is not between 0 and a week.", param, ctx)
        return seconds


class Assignment(click.ParamType[tuple[str, str]]):
    """A name and its text, from ``NAME=VALUE``."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Name and text."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            self.fail(f"“{value}” is not NAME=VALUE.", param, ctx)
        return name.strip(), text


def json_option(command: _Command) -> _Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Speak JSON on stdout.")(command)


def lab_options(command: _Command) -> _Command:
    """``--kernel`` and ``--cpus``."""
    command = click.option("--cpus", type=click.IntRange(1, 256), help="Virtual CPUs of the lab.")(command)
    return click.option(
        "--kernel", type=click.Path(path_type=Path), metavar="IMAGE", help="Kernel image that the lab boots."
    )(command)


compiler_option = click.option(
    "--compiler", is_flag=True, help="Carry this computer's C compiler and make into the lab, for builds."
)


def machine_option(command: _Command) -> _Command:
    """``--machine``."""
    return click.option(
        "--machine", metavar="MACHINE", help="host, lab or replay:FILE. [default: host, or what came before COMMAND]"
    )(command)


set_option = click.option(
    "--set", "settings", type=Assignment(), multiple=True, metavar="NAME=VALUE", help="Set a tunable. Repeatable."
)
