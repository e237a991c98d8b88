"""What the app tells every screen that is open; a screen answers with the messages of messages.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedtui.act import Act
from schedtui.backend.model import Deployment, Frame, MachineInfo, Scheduler

if TYPE_CHECKING:
    from schedtui.asking import Asking
    from schedtui.clients import Client, Clients
    from schedtui.trying import Trial


class Live:
    """A mixin: a screen overrides what concerns it."""

    def show_machine(self, info: MachineInfo) -> None:
        """Another machine is watched from now on."""

    def show_lost(self, reason: str) -> None:
        """The machine no longer answers; what is on the screen is the last that was seen of it."""

    def show_frame(self, frame: Frame) -> None:
        """The machine was sampled."""

    def show_scheduler(self, scheduler: Scheduler) -> None:
        """The kernel has just reported what runs, between two Frames."""

    def show_act(self, act: Act) -> None:
        """An act began, reached a stage or ended."""

    def follows(self, act: Act) -> bool:
        """Whether this screen shows how ``act`` goes, and so also how it fails."""
        return False

    def show_trial(self, trial: Trial) -> None:
        """A trial began, or something happened in it."""

    def show_deployment(self, deployment: Deployment) -> None:
        """A deployment on the machine changed its state."""

    def show_asking(self, asking: Asking) -> None:
        """A request began, or something happened in it."""

    def show_clients(self, clients: Clients) -> None:
        """Something is new with the programs that are connected over MCP."""

    def shows_client(self, client: Client) -> bool:
        """Whether this screen shows what ``client`` asks."""
        return False

    def shows_asking(self, asking: Asking) -> bool:
        """Whether this screen shows what ``asking`` wants of a person."""
        return False
