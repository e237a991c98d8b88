"""The concrete tools of all roles, over the bench: what can be seen, chosen, written, proven, tried and kept.

None can do anything dangerous. A source goes through the verifier and its sandbox and nowhere else; the canary takes
only what the verifier passed, with exactly those settings on exactly that kernel; who may try what without a person is
asked before each canary. How a mind is told of the tools and its calls are checked is tools.py's.
"""

from __future__ import annotations

from typing import Any

from schedtui.agent import closing, executing, observing, planning
from schedtui.agent.bench import Bench
from schedtui.agent.tools import Tool


def tools() -> list[Tool[Bench, Any]]:
    """All of them; each says which role has it."""
    return [*observing.tools(), *planning.tools(), *executing.tools(), *closing.tools()]
