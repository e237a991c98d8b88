"""What the tools of a connected program may touch: the bench of a request, and what the research tools keep on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schedtui.agent.bench import Bench
from schedtui.backend.model import Deployment, Plan

if TYPE_CHECKING:
    from schedtui.mcp.client import Client


class ClientBench(Bench):
    """Of one request of one client. What its research tools began goes on from request to request."""

    def __init__(self, *, client: Client, before: ClientBench | None = None, **of_bench: Any) -> None:
        super().__init__(**of_bench)
        self.client = client
        self.open_plan: Plan | None = None
        """The plan that is worked on: submitted, and neither tried nor given up."""
        self.kept: list[Deployment] = before.kept if before else []
        """What this client deployed and was kept."""
        self.executions: dict[str, Any] = before.executions if before else {}
        """Schedulers that were started by ``run_scheduler``, by their execution's id."""
        self.monitor: Any = before.monitor if before else None
        """What ``system_monitor`` measures at the moment."""
        self.profiles: dict[str, Any] = before.profiles if before else {}
        """What ``workload`` keeps for as long as the client is connected."""

    @property
    def way_back(self) -> str:
        """On the screen of agents; F12 is for the machine that its own program watches, which no client's lab is."""
        return "F12" if self.info.kind == "host" else "t"
