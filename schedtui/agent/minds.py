"""Whose mind works on a request: the model that the user chose, else the offline adviser, which needs nobody."""

from __future__ import annotations

from pathlib import Path

from schedtui.agent.mind import Mind


def chosen_mind(record: Path | None = None) -> Mind:
    """The mind; ``record``: a folder for what a model's server says. Raises BadFile for settings that are damaged."""
    from schedtui.agent.brain import configured_mind

    brain = configured_mind(record)
    if brain is not None:
        return brain
    from schedtui.agent.offline import OfflineAdviser

    return OfflineAdviser()
