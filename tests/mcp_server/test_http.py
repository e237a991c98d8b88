"""Programs that show their token are served over HTTP on loopback, each as itself; the server ends cleanly."""

from __future__ import annotations

import http.client
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mcp.shared.exceptions import MCPError

from schedtui.announced import ClientSeen
from schedtui.clients import Clients, visits
from schedtui.commands.clients import take_back
from schedtui.mcp.tokens import Tokens
from tests.conftest import until
from tests.mcp_server.over_http import Served, environment, served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data"), "--machine", "host") as it:
        yield it


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_sdk_client_of_either_era_lists_and_calls(server: Served, mode: str) -> None:
    async with server.client(mode=mode) as client:
        names = {each.name for each in (await client.list_tools()).tools}
        assert {"new_request", "verify", "canary", "status"} <= names
        answer = await client.call_tool("status")
    assert not answer.is_error
    assert "You are mcp:claude" in answer.content[0].text


async def test_who_a_program_is_comes_from_its_token_and_never_from_what_it_says(server: Served) -> None:
    async with server.client("honest") as one, server.client("other") as two:
        assert "You are mcp:honest" in (await one.call_tool("status")).content[0].text
        assert "You are mcp:other" in (await two.call_tool("status")).content[0].text


def test_a_session_belongs_to_the_token_that_began_it(server: Served) -> None:
    session = server.session("honest")
    assert server.ping(session, "honest") == 200
    assert server.ping(session, "other") == 404


def test_an_ended_session_is_no_more(server: Served) -> None:
    session = server.session("brief")
    assert server.ask(None, server.headers("brief", **{"mcp-session-id": session}), "DELETE")[0] == 200
    assert server.ping(session, "brief") == 404
    assert server.ping(server.session("brief"), "brief") == 200


def test_nothing_but_loopback_is_listened_on(server: Served) -> None:
    listening = [each for each in psutil.Process(server.process.pid).net_connections() if each.status == "LISTEN"]
    assert {each.laddr.ip for each in listening} <= {"127.0.0.1", "::1"}
    assert all(each.laddr.port == server.port for each in listening)


def test_a_token_is_made_at_first_start_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    with served(tmp_path, "--as", "mine") as it:
        assert it.tokens.names() == ["mine"]
        assert stat.S_IMODE(it.tokens.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(it.tokens.path.parent.stat().st_mode) == 0o700
        token = it.tokens.token("mine")
        code, said = it.end()
    assert code == 128 + 15
    assert token not in said  # a log is no place for it


def test_a_signal_ends_the_server_while_a_program_listens(tmp_path: Path) -> None:
    with served(tmp_path) as it:
        headers = it.headers(**{"mcp-session-id": it.session()})
        connection = http.client.HTTPConnection("127.0.0.1", it.port, timeout=60)
        connection.request("GET", "/mcp", headers=headers)
        assert connection.getresponse().status == 200
        code, said = it.end()
        connection.close()
    assert code == 128 + 15
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_said_so(server: Served, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schedtui", "mcp", "--http", str(server.port)]
    ran = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert "in use by another program" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_tokens_that_cannot_be_trusted_keep_the_server_from_starting(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "schedtui" / "mcp" / "tokens.json")
    tokens.token("claude")
    tokens.path.chmod(0o644)
    command = [sys.executable, "-m", "schedtui", "mcp", "--http", "0"]
    ran = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert "no token" in ran.stderr
    assert "schedtui mcp --token NAME" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_token_file_that_others_can_read_admits_nobody_until_it_is_closed(server: Served) -> None:
    headers = server.headers()
    server.tokens.path.chmod(0o644)
    try:
        assert server.ask({"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers)[0] == 401
    finally:
        server.tokens.path.chmod(0o600)
    assert server.session()


def test_a_revoked_token_ends_what_it_began(server: Served) -> None:
    session, headers = server.session("leaving"), server.headers("leaving")
    command = [sys.executable, "-m", "schedtui", "mcp", "--revoke", "leaving"]
    subprocess.run(command, env=environment(server.data), check=True, timeout=60)
    assert server.ask({"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers)[0] == 401
    server.tokens.token("leaving")  # a new one
    assert server.ask({"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers)[0] == 401
    assert until(lambda: server.ping(session, "leaving") == 404)


def test_what_a_person_took_is_not_given_back_to_a_program_that_comes_again(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(server.data))
    session = _at_work(server, "greedy")
    assert not _seen()["greedy"].taken
    take_back("greedy", as_json=False)
    assert _seen()["greedy"].taken
    server.ask(None, server.headers("greedy", **{"mcp-session-id": session}), "DELETE")
    assert until(lambda: "greedy" not in _seen())
    _at_work(server, "greedy")
    assert _seen()["greedy"].taken


def _at_work(server: Served, name: str) -> str:
    """A session in which a tool was called."""
    session = server.session(name)
    call = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "status", "arguments": {}}}
    assert server.ask(call, server.headers(name, **{"mcp-session-id": session}))[0] == 200
    return session


def _seen() -> dict[str, ClientSeen]:
    """What a person sees of the programs that are connected."""
    clients = Clients()
    for _ in visits(clients):
        pass
    return {each.seen.name: each.seen for known in clients.servers.values() for each in known.clients.values()}


async def test_a_resource_that_does_not_exist_is_an_error_and_the_session_goes_on(server: Served) -> None:
    async with server.client() as client:
        with pytest.raises(MCPError, match="no resource"):
            await client.read_resource("schedtui://library/../../../etc/passwd")
        assert (await client.list_tools()).tools
