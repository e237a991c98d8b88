"""What a request may cost, in money, time, calls and tokens, and stopping before that is passed.

Time in which a person, or another schedtui, is waited for does not count. What a call costs is the mind's to say
(``Usage``).
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from schedtui.agent.mind import OverBudget, Usage

LEAST_OUTPUT_TOKENS = 400
"""A call that may answer with less is not worth its prompt."""
_LEAST_SECONDS = 2.0
_CHARACTERS_PER_TOKEN = 3.0
"""Prose and code have 3 to 4; the smaller number is the safe one."""
_RATIOS = (1.0, 10.0)
"""An output token costs at least as much as an input token, and at most ten times that, with every seller known."""


class Price(Struct, frozen=True, kw_only=True):
    """Of one token, in dollars."""

    input_dollars: float
    output_dollars: float


FREE = Price(input_dollars=0.0, output_dollars=0.0)
"""Also for a model whose price nobody knows: its tokens are what can be counted."""
DEAREST = Price(input_dollars=15e-6, output_dollars=75e-6)
"""What is reckoned with before anything is known."""


@runtime_checkable
class Priced(Protocol):
    """A mind that knows beforehand what its tokens cost."""

    def price(self, stop: threading.Event) -> Price:
        """May block for seconds. Raises Stopped."""
        ...


class Limits(Struct, frozen=True, kw_only=True):
    """Of one request."""

    dollars: float = 0.25
    seconds: float = 300.0
    calls: int = 25
    tokens: int = 120_000
    """Read and written together, in all calls."""


class Allowance(Struct, frozen=True, kw_only=True):
    """What the next call may use."""

    output_tokens: int
    seconds: float


class Budget:
    """Of one request. ``usage`` is what was spent; may be read from any thread.

    ``price`` is the mind's, where it is known; without one the earlier calls tell, and before the first the dearest
    is reckoned with. A mind whose calls have no known price (``Usage.dollars`` is None) is held by its tokens alone.
    """

    def __init__(
        self, limits: Limits | None = None, *, price: Price | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits or Limits()
        self.usage = Usage()
        self._price = price
        self._clock = clock
        self._began = clock()
        self._waited_s = 0.0
        self._waiting_since: float | None = None
        self._dollars = 0.0
        self._priced: list[tuple[float, int, int]] = []
        self._characters = 0

    @property
    def unpriced(self) -> bool:
        """Whether a call had no known price, so that money cannot be counted."""
        return self.usage.dollars is None

    @property
    def seconds(self) -> float:
        """Since the request began, without the time in which somebody was waited for."""
        now = self._clock()
        waiting = now - self._waiting_since if self._waiting_since is not None else 0.0
        return now - self._began - self._waited_s - waiting

    @property
    def seconds_left(self) -> float:
        """0 at the least."""
        return max(0.0, self.limits.seconds - self.seconds)

    def reckon_with(self, price: Price | None) -> None:
        """A price that became known after the request began; None: still none."""
        self._price = price

    def check(self, prompt_characters: int = 0, output_tokens: int = 8000) -> Allowance:
        """What a call with such a prompt may use, at most ``output_tokens``, so that no limit is passed.

        Raises OverBudget, which names the limit, when nothing useful is left.
        """
        self.check_time()
        if self.usage.calls >= self.limits.calls:
            raise _over(f"{self.limits.calls} calls of the model were made, which is the limit")
        prompt = self._tokens(prompt_characters)
        spent = self.usage.input_tokens + self.usage.output_tokens
        by_tokens = self.limits.tokens - spent - prompt
        if by_tokens < LEAST_OUTPUT_TOKENS:
            raise _over(f"{spent} tokens are used, and the next call would pass the limit of {self.limits.tokens}")
        by_money = math.inf if self.unpriced else self._affordable_output(prompt)
        if by_money < LEAST_OUTPUT_TOKENS:
            raise _over(f"${self._dollars:.3f} are spent, and the next call might pass ${self.limits.dollars:.2f}")
        return Allowance(output_tokens=int(min(output_tokens, by_tokens, by_money)), seconds=self.seconds_left)

    def check_time(self) -> None:
        """Raises OverBudget when the time is over, or as good as."""
        if self.seconds_left < _LEAST_SECONDS:
            raise _over(f"the time of {self.limits.seconds:g} s is over")

    def spend(self, usage: Usage, prompt_characters: int = 0) -> Usage:
        """Count what a call cost; returns the sum. What a server reports that cannot be is not believed."""
        sound = _sound(usage)
        self.usage = self.usage + sound
        self._characters += prompt_characters
        if sound.dollars is not None:
            self._dollars += sound.dollars
            self._priced.append((sound.dollars, sound.input_tokens, sound.output_tokens))
        return self.usage

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While a person is asked, or another schedtui has its turn."""
        self._waiting_since = self._clock()
        try:
            yield
        finally:
            self._waited_s += self._clock() - self._waiting_since
            self._waiting_since = None

    def grant(self, limits: Limits) -> None:
        """A person lets it go on: as much again as ``limits``."""
        added = {name: value + getattr(self.limits, name) for name, value in msgspec.structs.asdict(limits).items()}
        self.limits = Limits(**added)

    def _tokens(self, characters: int) -> int:
        """At most so many tokens; measured on earlier prompts where there were any."""
        seen = self._characters / self.usage.input_tokens if self._characters and self.usage.input_tokens else math.inf
        return math.ceil(characters / max(1.0, min(_CHARACTERS_PER_TOKEN, seen)))

    def _affordable_output(self, prompt: int) -> float:
        left = self.limits.dollars - self._dollars
        if self._price is not None or not self._priced:
            price = self._price or DEAREST
            left -= prompt * price.input_dollars
            return left / price.output_dollars if price.output_dollars else math.inf if left >= 0 else 0.0
        return min(_affordable(left, prompt, ratio, *call) for call in self._priced for ratio in _RATIOS)


def _affordable(left: float, prompt: int, ratio: float, dollars: float, read: int, written: int) -> float:
    """Output tokens for the money left, if an earlier call is the measure and output costs ``ratio`` times input."""
    weighted = read + ratio * written
    if not dollars or not weighted:
        return math.inf
    return (left * weighted / dollars - prompt) / ratio


def _sound(usage: Usage) -> Usage:
    dollars = usage.dollars
    if dollars is not None and not (math.isfinite(dollars) and dollars >= 0):
        dollars = None
    return Usage(
        calls=max(1, usage.calls),
        input_tokens=max(0, usage.input_tokens),
        output_tokens=max(0, usage.output_tokens),
        dollars=dollars,
        seconds=usage.seconds if math.isfinite(usage.seconds) and usage.seconds >= 0 else 0.0,
    )


def _over(what: str) -> OverBudget:
    return OverBudget(f"Stopped within the budget of this request: {what}.", "Ask again with a larger budget.")
