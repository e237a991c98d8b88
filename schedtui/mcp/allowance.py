"""What a connected program may spend: calls, verifications, trials, time of the lab, bytes; each in a sliding window.

A refusal says when it may again. Money and tokens are the program's own business: it has its own model.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from schedtui.backend.errors import SchedtuiError

_VERIFYING = frozenset(("verify", "create_and_verify_scheduler"))
_TRYING = frozenset(("canary", "run_scheduler"))


class OverAllowance(SchedtuiError):
    """A client did more than it may in this time."""

    kind = "over-allowance"


class Limit(Struct, frozen=True):
    """So much of something within so many seconds."""

    what: str
    most: float
    window_s: float


LIMITS = {
    "calls": Limit("calls", 600, 60),
    "bytes": Limit("bytes of arguments", 16 << 20, 60),
    "verifications": Limit("verifications", 60, 3600),
    "trials": Limit("trials of a scheduler", 60, 3600),
    "seconds": Limit("seconds of verifying and trying", 2700, 3600),
}


class Allowance:
    """Of one client. May be used from any thread."""

    def __init__(self, limits: dict[str, Limit] | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or LIMITS
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: dict[str, deque[tuple[float, float]]] = {name: deque() for name in self.limits}

    def call(self, tool: str, size: int) -> None:
        """Count a call of ``tool`` with so many bytes of arguments. Raises OverAllowance, and counts nothing then."""
        wanted = {"calls": 1.0, "bytes": float(size)}
        if tool in _VERIFYING:
            wanted["verifications"] = 1.0
        if tool in _TRYING:
            wanted["trials"] = 1.0
        if len(wanted) > 2:
            wanted["seconds"] = 0.0
        with self._lock:
            for name, amount in wanted.items():
                self._check(name, amount)
            for name, amount in wanted.items():
                self._spent[name].append((self._clock(), amount))

    def took(self, tool: str, seconds: float) -> None:
        """A call that verified or tried something took so long."""
        if tool in _VERIFYING or tool in _TRYING:
            with self._lock:
                self._spent["seconds"].append((self._clock(), seconds))

    def left(self) -> dict[str, float]:
        """What may be spent now, by the names of LIMITS."""
        with self._lock:
            return {name: max(0.0, self.limits[name].most - self._sum(name)) for name in self.limits}

    def _check(self, name: str, amount: float) -> None:
        limit, spent = self.limits[name], self._sum(name)
        over = spent + amount > limit.most if amount else spent >= limit.most
        if not over:
            return
        wait_s = math.ceil(self._until(name, amount))
        window = "a minute" if limit.window_s == 60 else "an hour"
        raise OverAllowance(
            f"That is more than the {limit.most:g} {limit.what} that a program may have in {window}.",
            f"Again in {wait_s} s, at {time.strftime('%H:%M:%S', time.localtime(time.time() + wait_s))}.",
        )

    def _sum(self, name: str) -> float:
        spent, since = self._spent[name], self._clock() - self.limits[name].window_s
        while spent and spent[0][0] <= since:
            spent.popleft()
        return sum(amount for _, amount in spent)

    def _until(self, name: str, amount: float) -> float:
        """Seconds until ``amount`` fits again."""
        limit = self.limits[name]
        total = self._sum(name)
        for at, each in self._spent[name]:
            total -= each
            if total + amount <= limit.most and total < limit.most:
                return max(0.0, at + limit.window_s - self._clock())
        return limit.window_s
