"""What a page in a browser, a stranger or a broken program may try over HTTP, and what it gets for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import until
from tests.mcp_server.over_http import HELLO, PING, Served, served_strictly

pytestmark = pytest.mark.slow
BODY_BYTES = 400_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("data")
    limits = {
        "body_bytes": BODY_BYTES,
        "body_s": 5.0,
        "head_s": 5.0,
        "burst": 60,
        "per_s": 0.05,
        "failures": 30,
        "failures_per_s": 0.001,
        "sessions": 3,
        "broken_s": 0.5,
    }
    with served_strictly(data, **limits) as it:
        yield it
        code, said = it.end()
        assert code == 128 + 15
        assert "Traceback" not in said


def test_a_missing_and_a_wrong_token_are_refused_alike(server: Served) -> None:
    right = server.tokens.token("claude")
    tried = [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {right}",
        "Bearer nobody",
        f"Bearer {right}x",
        f"Bearer {right[:-1]}",
    ]
    answers = set()
    for each in tried:
        headers = {**server.headers(), "authorization": each} if each is not None else {"accept": "*/*"}
        status, said, body = server.ask(HELLO, headers)
        answers.add((status, said.get("www-authenticate"), body))
    assert answers == {(401, "Bearer", b"A valid token is needed.")}


@pytest.mark.parametrize("origin", ["https://example.com", "null", "http://localhost:3000", "the server's own"])
def test_a_page_in_a_browser_is_refused_even_with_the_token(server: Served, origin: str) -> None:
    own = f"http://127.0.0.1:{server.port}"
    headers = server.headers(origin=own if origin == "the server's own" else origin)
    assert server.ask(HELLO, headers)[0] == 403


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "localhost:1", ""])
def test_a_name_that_was_made_to_point_here_is_refused(server: Served, host: str) -> None:
    assert server.ask(HELLO, server.headers(host=host))[0] == 421


def test_two_hosts_in_one_request_are_refused(server: Served) -> None:
    name = f"127.0.0.1:{server.port}"
    head = f"POST /mcp HTTP/1.1\r\nHost: {name}\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n"
    assert _said_to(server, head.encode()).split()[1] in (b"400", b"421")


def test_a_browser_that_asks_for_leave_gets_none(server: Served) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for headers in (asked, {**asked, "origin": "https://example.com"}, server.headers(**asked)):
        status, said, _ = server.ask(None, headers, "OPTIONS")
        assert status in (403, 405)
        assert not [each for each in said if each.startswith("access-control")]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "TRACE"])
def test_other_methods_are_refused(server: Served, method: str) -> None:
    assert server.ask(None, server.headers(), method)[0] == 405


@pytest.mark.parametrize("path", ["/", "/mcp/", "/mcp/../mcp", "/sse", "/.well-known/oauth-protected-resource"])
def test_nothing_else_is_there(server: Served, path: str) -> None:
    assert server.ask(HELLO, server.headers(), path=path)[0] == 404


def test_a_body_that_says_it_is_too_large_is_not_even_read(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/mcp")
    for name, value in server.headers(**{"content-length": str(10**15)}).items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_without_end_is_cut_off(server: Served) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in server.headers().items())
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        start = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nTransfer-Encoding: chunked\r\n{head}\r\n"
        connection.sendall(start.encode())
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 1 << 30:
                connection.sendall(chunk)
                sent += len(chunk)
    assert sent < 1 << 30
    assert server.session()


def test_a_body_that_never_comes_is_not_waited_for(server: Served) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in server.headers().items())
    start = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 100\r\n{head}\r\n{{"
    assert _said_to(server, start.encode()).startswith(b"HTTP/1.1 408")


def test_a_head_that_never_ends_is_hung_up_on(server: Served) -> None:
    assert _said_to(server, b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-") == b""


def test_a_head_that_is_too_large_is_refused(server: Served) -> None:
    said = _said_to(server, b"POST /mcp HTTP/1.1\r\nX-Long: " + b"x" * 4_000_000)
    assert said.startswith(b"HTTP/1.1 400") or not said  # what it did not read may break the connection


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"' + b"\xff" * 100 + b'"',
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": ' + b"9" * 10_000 + b"}",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}).encode(),
        json.dumps([HELLO, HELLO]).encode(),
    ],
    ids=["empty", "cut", "list", "null", "no-text", "deep", "number", "types", "batch"],
)
def test_what_is_no_request_gets_an_error_and_the_server_lives(server: Served, body: bytes) -> None:
    for more in ({}, {"mcp-session-id": "nobody"}, {"mcp-protocol-version": "2026-07-28"}):
        status, _, said = server.ask(body, server.headers("confused", **more))
        assert 400 <= status < 500, said
        assert b"Traceback" not in said


def test_a_flood_of_one_program_is_slowed_and_others_are_served(server: Served) -> None:
    headers = server.headers("flooding")
    answers = [server.ask(PING, headers)[:2] for _ in range(80)]
    assert next(said for status, said in answers if status == 429)["retry-after"]
    assert server.session("patient")


def test_one_program_has_only_so_many_sessions(server: Served) -> None:
    sessions = [server.session("greedy") for _ in range(3)]
    assert server.ask(HELLO, server.headers("greedy"))[0] == 503
    assert server.session("modest")
    server.ask(None, server.headers("greedy", **{"mcp-session-id": sessions[0]}), "DELETE")
    assert server.session("greedy")


def test_what_a_program_that_vanished_began_is_ended(server: Served) -> None:
    session = server.session("vanishing")
    call = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "status", "arguments": {}}}
    headers = server.headers("vanishing", **{"mcp-session-id": session})
    assert server.ask(call, headers)[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/mcp", headers=headers)
    assert connection.getresponse().status == 200
    connection.close()  # as when it is killed
    assert until(lambda: "Its connection broke off." in _kept(server.data))
    assert server.ping(session, "vanishing") == 404


def test_guessing_tokens_is_slowed_and_the_right_one_is_still_heard(server: Served) -> None:
    answers = [server.ask(PING, {"authorization": f"Bearer {os.urandom(8).hex()}"})[0] for _ in range(40)]
    assert answers[-1] == 429
    assert server.session("heard")


def _said_to(server: Served, sent: bytes) -> bytes:
    """All that the server says until it hangs up."""
    said = b""
    hung_up = contextlib.suppress(ConnectionResetError, BrokenPipeError)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection, hung_up:
        connection.sendall(sent)
        while piece := connection.recv(4096):
            said += piece
    return said


def _kept(data: Path) -> str:
    """What the server wrote down of its clients' work."""
    return "\n".join(each.read_text() for each in (data / "schedtui" / "trajectories").glob("*.json"))
