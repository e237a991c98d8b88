"""Programs that are connected over MCP, as they once were: what the screens show of them is tried on these."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from schedtui import announced
from schedtui.agent import events as happened
from schedtui.agent.events import AnyEvent
from schedtui.announced import ClientSeen, Gone, Happened, Hello, MachineSeen, Seen, Share, Watched
from schedtui.clients import Clients
from tests.app import tale

BEGAN = 1_790_000_000.0
"""When the story begins: Unix time."""
CLAUDE = ClientSeen(
    id=1,
    name="claude-code",
    label="Claude Code 2.1",
    since=BEGAN,
    may="may only propose",
    shares=(
        Share(what="calls", spent=14, limit=600, per="minute"),
        Share(what="verifications", spent=2, limit=60, per="hour"),
        Share(what="trials of a scheduler", spent=1, limit=60, per="hour"),
        Share(what="seconds of verifying and trying", spent=41, limit=2700, per="hour"),
    ),
)
CURSOR = ClientSeen(id=2, name="cursor", label="Cursor", since=BEGAN + 5, may="may only propose")
LAB = MachineSeen(scheduler="brisk", state="enabled", used_percent=87.0, p50_us=14.0, p99_us=4700.0)


def connected(events: Iterable[AnyEvent], *, others: bool = True, machine: str = "lab") -> Clients:
    """A server with claude-code, to which all that happened, each at its time, and another that left."""
    now = BEGAN
    clients = Clients(lambda: now)
    clients.hear(1, Hello(version=announced.VERSION, pid=4711, machine=machine, began=BEGAN))  # type: ignore[arg-type]
    clients.hear(1, Seen(client=CLAUDE))
    clients.hear(1, Watched(kernel="6.18.15", machine=LAB))
    if others:
        clients.hear(1, Seen(client=CURSOR))
        clients.hear(1, Happened(id=2, at=BEGAN + 6, event=tale.looked()[5]))
        clients.hear(1, Gone(id=2, why="It left."))
    for event in events:
        if not isinstance(event, happened.Spent | happened.Said | happened.RoleBegan):
            now = BEGAN + event.at_s
            clients.hear(1, Happened(id=1, at=now, event=event))
    return clients


def taken(clients: Clients) -> Clients:
    """After a person took the machine back."""
    clients.hear(1, Seen(client=replace(CLAUDE, taken=True)))
    return clients
