"""Each client gets the lines that its own format asks for, with the command's whole path and never a token."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from schedtui.mcp.configuration import CLIENTS, VARIABLE, ClientKind, for_http, for_stdio
from tests.mcp_server.over_http import environment

BEARER = {
    "claude": f"Bearer ${{{VARIABLE}}}",
    "cursor": f"Bearer ${{env:{VARIABLE}}}",
    "vscode": "Bearer ${input:schedtui-token}",
}


def _server(client: ClientKind, text: str) -> dict[str, Any]:
    """What the client finds under schedtui's name."""
    if client == "codex":
        return dict(tomllib.loads(text)["mcp_servers"]["schedtui"])
    return dict(json.loads(text)["servers" if client == "vscode" else "mcpServers"]["schedtui"])


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_starts_the_server_is_told_the_whole_path_and_who_it_is(client: ClientKind) -> None:
    found = _server(client, for_stdio(client, ("--machine", "lab")).text)
    assert Path(found["command"]).is_absolute()
    assert Path(found["command"]).is_file()
    assert found["args"][-5:] == ["mcp", "--as", client, "--machine", "lab"]
    assert found.get("type", "stdio") == "stdio"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_calls_a_running_server_is_told_where_its_token_comes_from(client: ClientKind) -> None:
    printed = for_http(client, 8123)
    found = _server(client, printed.text)
    assert found["url"] == "http://127.0.0.1:8123/mcp"
    assert "command" not in found
    if client == "codex":
        assert found["bearer_token_env_var"] == VARIABLE
    else:
        assert found["headers"] == {"Authorization": BEARER[client]}
    assert f"schedtui mcp --token {client}" in printed.advice


def test_vs_code_asks_for_the_token_and_keeps_it_hidden() -> None:
    (asked,) = json.loads(for_http("vscode", 8123).text)["inputs"]
    assert asked["id"] == "schedtui-token"
    assert (asked["type"], asked["password"]) == ("promptString", True)


def test_codex_waits_as_long_as_a_proof_takes() -> None:
    assert _server("codex", for_stdio("codex").text)["tool_timeout_sec"] >= 600


@pytest.mark.parametrize("odd", ['a "quoted" folder', "back\\slash", "ümläut", "new\nline", "\x7f"])
@pytest.mark.parametrize("client", CLIENTS)
def test_odd_names_survive_the_format(client: ClientKind, odd: str) -> None:
    assert _server(client, for_stdio(client, ("--folder", odd)).text)["args"][-1] == odd


@pytest.mark.slow
def test_the_command_prints_nothing_else_on_stdout(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schedtui", "mcp", "--machine", "lab", "--yes", "--as", "me"]
    ran = subprocess.run(
        [*command, "--print-config", "claude"], env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0
    assert _server("claude", ran.stdout)["args"][-6:] == ["mcp", "--as", "me", "--machine", "lab", "--yes"]
    assert ".mcp.json" in ran.stderr
    assert not (tmp_path / "schedtui" / "mcp" / "tokens.json").exists()
