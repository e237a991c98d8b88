"""The doctor's whole list: what the backend sees of this computer, and the model that is to be asked."""

from __future__ import annotations

from schedtui.agent.models import chosen_model, where_the_key_is
from schedtui.backend import doctor
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.model import Check

_NEEDED_FOR = "Describe and “ask” with a model; the offline adviser needs none"


def examine() -> list[Check]:
    """Look at everything once. No network: whether a model answers, ``schedtui model test`` finds out."""
    return [*doctor.examine(), _model()]


def _model() -> Check:
    try:
        choice = chosen_model()
    except SchedtuiError as error:
        return Check(name="model", ok=False, state=error.message, remedy=error.remedy, needed_for=_NEEDED_FOR)
    if choice is None:
        state = "none chosen: the offline adviser answers, without key and network"
        return Check(name="model", ok=True, state=state, needed_for=_NEEDED_FOR)
    key = where_the_key_is(choice)
    missing = key.startswith("missing")
    return Check(
        name="model",
        ok=not missing,
        state=f"{choice.model}; key: {key.partition(':')[0]}",
        remedy="schedtui model key" if missing else "",
        needed_for=_NEEDED_FOR,
    )
