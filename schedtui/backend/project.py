"""A person's project on a machine: where the command that should end sooner is run."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from schedtui.backend.machine import Machine


@runtime_checkable
class Carrying(Protocol):
    """A machine that has the project in a place of its own."""

    def carry(self, folder: Path, command: tuple[str, ...]) -> None:
        """From now on ``run`` runs ``command`` in ``folder``, or in a copy of it.

        Raises UnknownName, BadFile, NotPermitted (too large), and MissingTool when there is no such command.
        """
        ...


def carry_project(machine: Machine, folder: Path | None, command: tuple[str, ...]) -> None:
    """Let ``command`` be run in ``folder`` on that machine; nothing happens without either. Raises as ``carry``."""
    if folder is not None and command and isinstance(machine, Carrying):
        machine.carry(folder, command)
