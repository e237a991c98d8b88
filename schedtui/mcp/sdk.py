"""Brings in the MCP SDK within the time that a client waits for the first answer.

Its packages import a client, a second server, and a web server that stdio never needs, and build every message of every
version of the protocol at once: twice the time of everything else. Here only the modules that are asked for are
imported, and a message is built when it is first used.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
from collections.abc import Iterator

_PACKAGES = ("mcp", "mcp.server")
"""Whose ``__init__`` only gathers what its modules hold."""


@contextlib.contextmanager
def hastened() -> Iterator[None]:
    """Within it, and only there, the SDK is imported in haste; what is imported so works as ever."""
    import pydantic

    config = pydantic.BaseModel.model_config
    gathered = gc.isenabled()
    gc.disable()  # nothing of what is imported can be thrown away
    config["defer_build"] = True
    _bare_packages()
    try:
        yield
    finally:
        del config["defer_build"]
        if gathered:
            gc.freeze()
            gc.enable()


def _bare_packages() -> None:
    """The packages without what their ``__init__`` imports."""
    for name in _PACKAGES:
        if name not in sys.modules and (spec := importlib.util.find_spec(name)):
            sys.modules[name] = importlib.util.module_from_spec(spec)
