"""The lines that make another program know schedtui's server, in that program's own format.

Formats as their makers document them: Claude Code (``.mcp.json``), Cursor (``mcp.json``), VS Code
(``.vscode/mcp.json``), Codex (``config.toml``). A token is never written into a configuration, which people share:
each format names a variable of the environment, or lets the program ask for it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from msgspec import Struct

ClientKind = Literal["claude", "cursor", "vscode", "codex"]
CLIENTS: tuple[ClientKind, ...] = get_args(ClientKind)
VARIABLE = "SCHEDTUI_MCP_TOKEN"
_NAME = "schedtui"
_LONGEST_CALL_S = 1800
"""A proof on a real kernel and a canary take minutes; Codex gives up after one otherwise."""
_START_S = 20


class Printed(Struct, frozen=True):
    """A configuration, and what a person does with it."""

    text: str
    """For the file."""
    advice: str
    """Where it belongs, and for HTTP how the token gets there."""


def for_stdio(client: ClientKind, arguments: tuple[str, ...] = (), name: str = "") -> Printed:
    """The client starts the server itself: ``schedtui mcp --as NAME ARGUMENTS``; it is its own name when none is."""
    command, *before = _command()
    started: dict[str, Any] = {"command": command, "args": [*before, "mcp", "--as", name or client, *arguments]}
    return Printed(_WRITERS[client](started), _PLACES[client])


def for_http(client: ClientKind, port: int) -> Printed:
    """The server runs already: ``schedtui mcp --http PORT``."""
    url = f"http://127.0.0.1:{port}/mcp"
    how = f"Its token: export {VARIABLE}=$(schedtui mcp --token {client})"
    if client == "vscode":
        how = f"It asks for the token once; schedtui shows it: schedtui mcp --token {client}"
    return Printed(_WRITERS[client]({"url": url}), f"{_PLACES[client]}\n{how}")


def _command() -> list[str]:
    """How this very schedtui is started, wherever the client's own PATH points."""
    started = Path(sys.argv[0])
    if started.name == _NAME and started.is_file():
        return [str(started.absolute())]
    beside = Path(sys.executable).with_name(_NAME)
    if beside.is_file():
        return [str(beside)]
    found = shutil.which(_NAME)
    return [found] if found else [sys.executable, "-m", _NAME]


def _claude(server: Mapping[str, Any]) -> str:
    if "url" not in server:
        return _json({"mcpServers": {_NAME: {"type": "stdio", **server}}})
    headers = {"Authorization": f"Bearer ${{{VARIABLE}}}"}
    return _json({"mcpServers": {_NAME: {"type": "http", **server, "headers": headers}}})


def _cursor(server: Mapping[str, Any]) -> str:
    if "url" not in server:
        return _json({"mcpServers": {_NAME: server}})
    headers = {"Authorization": f"Bearer ${{env:{VARIABLE}}}"}
    return _json({"mcpServers": {_NAME: {**server, "headers": headers}}})


def _vscode(server: Mapping[str, Any]) -> str:
    if "url" not in server:
        return _json({"servers": {_NAME: {"type": "stdio", **server}}})
    asked = {"type": "promptString", "id": "schedtui-token", "description": "schedtui's token", "password": True}
    headers = {"Authorization": "Bearer ${input:schedtui-token}"}
    return _json({"inputs": [asked], "servers": {_NAME: {"type": "http", **server, "headers": headers}}})


def _codex(server: Mapping[str, Any]) -> str:
    lines = [f"[mcp_servers.{_NAME}]", *(f"{key} = {_toml(value)}" for key, value in server.items())]
    if "url" in server:
        lines.append(f"bearer_token_env_var = {_toml(VARIABLE)}")
    lines += [f"startup_timeout_sec = {_START_S}", f"tool_timeout_sec = {_LONGEST_CALL_S}"]
    return "\n".join(lines)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _toml(value: str | list[str]) -> str:
    """A text or a list of texts; TOML's basic strings escape as JSON's do, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_WRITERS: dict[ClientKind, Callable[[Mapping[str, Any]], str]] = {
    "claude": _claude,
    "cursor": _cursor,
    "vscode": _vscode,
    "codex": _codex,
}
_PLACES: dict[ClientKind, str] = {
    "claude": "For .mcp.json in a project's folder (Claude Code).",
    "cursor": "For ~/.cursor/mcp.json, or .cursor/mcp.json in a project's folder.",
    "vscode": "For .vscode/mcp.json in a project's folder, or the user's mcp.json (“MCP: Open User Configuration”).",
    "codex": "For ~/.codex/config.toml.",
}
