"""Keeps a trial's lease with the helper short, whatever its watcher is busy with.

The helper takes away what is on trial when a sign of life is a second late: a starved desktop is noticed at once. Who
watches a trial samples, compares and writes, and is sometimes slower than that on a busy computer; so this renews in
between, in a thread of its own, for as long as the watcher has said within its own time that it is still there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from schedtui.backend.errors import SchedtuiError

RENEW_S = 0.1
LEASE_S = RENEW_S + 1.0
"""The helper's patience: a renewal that is due, and one second."""


class LeaseKeeper:
    """Of one program. ``renew`` is a sign of life to the helper, and raises when it is too late for one."""

    def __init__(self, renew: Callable[[], object]) -> None:
        self._renew = renew
        self._over: threading.Event | None = None
        self._patience_s = 0.0
        self._seen = 0.0

    def begin(self, patience_s: float) -> None:
        """Something is about to be loaded, whose watcher may be silent for so long after its first sign of life."""
        self.end()
        self._patience_s, self._seen = patience_s, float("inf")
        self._over = over = threading.Event()
        threading.Thread(target=self._keep, args=(over,), name="lease", daemon=True).start()

    def seen(self, patience_s: float | None = None) -> None:
        """The watcher is still there."""
        self._seen = time.monotonic()
        if patience_s is not None:
            self._patience_s = patience_s

    def end(self) -> None:
        """Nothing is on trial any more, or it is kept. May be called at any time."""
        over, self._over = self._over, None
        if over is not None:
            over.set()

    def _keep(self, over: threading.Event) -> None:
        while not over.wait(RENEW_S) and time.monotonic() - self._seen <= self._patience_s:
            with contextlib.suppress(SchedtuiError):  # not loaded yet, or gone: its watcher asks too, and is told
                self._renew()
