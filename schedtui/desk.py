"""What a request needs on a machine that is open, put together once for the screens and the commands.

Whose mind works on it is agent/minds.py's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from schedtui.agent.bench import Watch
from schedtui.agent.brain import Brain
from schedtui.agent.budget import Limits
from schedtui.agent.engine import Consent, Engine
from schedtui.agent.events import Listen
from schedtui.agent.mind import Mind
from schedtui.agent.trust import PERSON, Trust, TrustLevel
from schedtui.backend.audit import Audit
from schedtui.backend.deploy import Deployer
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.machine import Machine
from schedtui.backend.model import Deployment, MachineInfo
from schedtui.backend.store import Store


class Desk:
    """The store, the audit, the deployer and the frames of one machine, from which engines are made.

    ``listen`` gets every deployment that changed its state, in the thread that changed it. Whoever consumes the
    machine's frames hands them to ``watch``, or lets it ``follow`` the machine.
    """

    def __init__(
        self,
        machine: Machine,
        info: MachineInfo,
        *,
        listen: Callable[[Deployment], None] = lambda _: None,
        kernel: Path | None = None,
    ) -> None:
        self.machine = machine
        self.info = info
        self.kernel = kernel
        """The image that policies are proven on; None: the lab's own choice."""
        self.store = Store()
        self.audit = Audit(store=self.store)
        self.watch = Watch()
        self.deployer = Deployer(machine, self.store, self.audit, listen, regret=_distrust)

    def engine(self, mind: Mind, listen: Listen, *, consent: Consent = "ask", limits: Limits | None = None) -> Engine:
        """An engine for one request after the other. ``consent``: who answers its questions."""
        return Engine(
            machine=self.machine,
            info=self.info,
            watch=self.watch,
            mind=mind,
            deployer=self.deployer,
            trust=Trust(mind.name, automatic=consent == "yes"),
            listen=listen,
            store=self.store,
            consent=consent,
            limits=limits,
            kernel=self.kernel,
            audit=self.audit,
        )


def _distrust(deployment: Deployment) -> None:
    """What is taken back after all speaks against whoever chose it."""
    if deployment.asked_by != PERSON:
        with contextlib.suppress(SchedtuiError):
            Trust(deployment.asked_by).note(TrustLevel.LIBRARY, "reverted", asked=False)


def let_go(mind: Mind) -> None:
    """End what a mind holds: the process of a model."""
    if isinstance(mind, Brain):
        mind.close()
