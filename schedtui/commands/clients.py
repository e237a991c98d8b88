"""What the screen of agents does, for a shell: which programs are connected over MCP, and taking the machine back.

``schedtui mcp --list`` and ``schedtui mcp --take-back`` (commands/mcp.py) are these.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from schedtui.backend.errors import Interrupted, NotPermitted, SchedtuiError, UnknownName
from schedtui.console import Console
from schedtui.units import span

if TYPE_CHECKING:
    from schedtui.clients import Client, Server


def list_clients(as_json: bool) -> None:
    """Every server of this user, and who is connected to it."""
    from schedtui.clients import Clients, visits

    clients = Clients()
    servers = [clients.servers[each.number] for each in visits(clients) if each.number in clients.servers]
    lines = [line for each in servers for line in _server_lines(each)]
    Console(as_json).result(
        {"servers": [_server(each) for each in servers]},
        "\n".join(lines) or "No server for other programs is running: schedtui mcp.",
    )


def take_back(name: str, as_json: bool) -> None:
    """From the programs of this name, or with an empty one from all. Raises UnknownName and NotPermitted."""
    from schedtui.announced import TakeBack
    from schedtui.clients import Clients, visits

    console, clients = Console(as_json), Clients()
    known: set[str] = set()
    taken: list[dict[str, Any]] = []
    failures: list[SchedtuiError] = []
    for visit in visits(clients):
        server = clients.servers[visit.number]
        for client in list(server.clients.values()):
            known.add(client.name)
            if name and client.name != name:
                continue
            try:
                done = visit.ask(TakeBack(number=client.seen.id, client=client.seen.id))
            except SchedtuiError as error:
                failures.append(error)
                continue
            if not done.ok:
                failures.append(Interrupted(done.text))
                continue
            console.tell(done.text)
            taken.append({"name": client.name, "pid": server.hello.pid, "text": done.text})
    if not taken and not failures:
        if name and known:
            raise UnknownName(f"No program “{name}” is connected.", f"There: {', '.join(sorted(known))}.")
        raise NotPermitted("No program is connected over MCP, so there is nothing to take back.")
    if failures:
        raise failures[0]
    if as_json:
        console.result({"taken": taken}, "")


def _server_lines(server: Server) -> list[str]:
    where = {"host": "this computer", "lab": "a lab"}.get(server.hello.machine, server.hello.machine)
    kernel = f", Linux {server.kernel}" if server.kernel else ""
    runs = f", runs {server.machine.scheduler}" if server.machine else ""
    head = f"{where}{kernel}{runs} (process {server.hello.pid})"
    if not server.clients:
        return [head, "  no program is connected"]
    return [head, *(f"  {_told(each)}" for each in server.clients.values())]


def _told(client: Client) -> str:
    now = time.time()
    state = client.state_words(now)
    return f"{client.who}: {state}; connected for {span(now - client.seen.since)}; {client.seen.may}"


def _server(server: Server) -> dict[str, Any]:
    return {
        "pid": server.hello.pid,
        "machine": server.hello.machine,
        "kernel": server.kernel,
        "began": server.hello.began,
        "now": server.machine,
        "clients": [
            {
                "client": each.seen,
                "doing": each.doing,
                "asks": each.asking.question.title if each.asking.question else None,
                "last": each.last or None,
            }
            for each in server.clients.values()
        ],
    }
