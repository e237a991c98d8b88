"""A deployer on a computer in memory, with a real store, and canaries that take a hundredth of their time."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend import canary_run, deploy
from schedtui.backend.deploy import Deployer, Proposal
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Deployment, Report
from schedtui.backend.store import Store
from schedtui.backend.verifier.reports import rules_version
from schedtui.paths import shipped
from tests.deploy.computer import DIGEST, KERNEL, OBJECT, Computer

POLICY = load_library(shipped("library")).policies["fifo"]


class Desk:
    """A deployer with all around it."""

    def __init__(self, folder: Path, computer: Computer | None = None) -> None:
        self.computer = computer or Computer()
        self.store = Store(folder / "history.sqlite")
        self.told: list[Deployment] = []
        self.deployer = Deployer(self.computer, self.store, listen=self.told.append)

    def propose(self) -> Deployment:
        """A policy was asked for."""
        proposal = Proposal(policy=POLICY, settings={}, preset=None, reason="")
        return self.deployer.propose(proposal, asked_by="person")

    def verified(self) -> Deployment:
        """And passed."""
        return self.deployer.verified(self.propose(), report(), OBJECT)


def report(**changes: object) -> Report:
    """Of a verification that passed."""
    fields: dict[str, object] = {
        "name": "fifo",
        "verdict": "pass",
        "digest": DIGEST,
        "settings": {},
        "kernel": KERNEL,
        "stages": (),
        "quick": False,
        "made_at": 0.0,
        "rules": rules_version(),
    }
    return Report(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """With a computer on which nothing makes a difference."""
    return Desk(tmp_path)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The computer's clock goes by samples, so nothing needs the real time."""
    for name, seconds in {
        "SLICE_S": 0.001,
        "SETTLE_S": 0.0,
        "SHORTEST_TURN_S": 0.03,
        "CALM_S": 0.2,
        "_SLOWEST": 1000.0,
    }.items():
        monkeypatch.setattr(canary_run, name, seconds)
    monkeypatch.setattr(deploy, "_HOLD_S", 0.01)
