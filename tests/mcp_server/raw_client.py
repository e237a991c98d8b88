"""A client as the research system has it: JSON-RPC in lines over a server's stdin and stdout, and nobody's library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

INVALID_PARAMS = -32602
_LIMIT_S = 280.0


class Refused(Exception):
    """An error of the protocol."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]


class RawClient:
    """One connection to a server of its own, that keeps its data in ``folder``."""

    def __init__(self, folder: Path, *options: str, surroundings: dict[str, str] | None = None) -> None:
        places = {f"XDG_{each}_HOME": str(folder / each.lower()) for each in ("DATA", "CONFIG")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "schedtui", "mcp", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **places, "XDG_RUNTIME_DIR": str(folder), **(surroundings or {})},
        )
        self._number = 0
        self.hello = self.request(
            "initialize",
            {
                "protocolVersion": "2024-11-05",
                "capabilities": {},
                "clientInfo": {"name": "autotune", "version": "0.1.0"},
            },
        )
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Its result; raises Refused for an error."""
        self._number += 1
        self._write({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        watchdog = threading.Timer(_LIMIT_S, self.process.kill)
        watchdog.start()
        try:
            for line in _pipe(self.process.stdout):
                message = json.loads(line)
                if message.get("id") == self._number:
                    if "error" in message:
                        raise Refused(message["error"])
                    result: dict[str, Any] = message["result"]
                    return result
        finally:
            watchdog.cancel()
        raise AssertionError(f"the server ended without an answer to {method}")

    def text(self, tool: str, arguments: dict[str, Any] | None = None) -> str:
        """What a tool answers."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments or {}})
        (content,) = result["content"]
        assert content["type"] == "text"
        assert not result.get("isError"), content["text"]
        text: str = content["text"]
        return text

    def call(self, tool: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """What a tool answers in JSON."""
        answer: dict[str, Any] = json.loads(self.text(tool, arguments))
        return answer

    def refusal(self, tool: str, arguments: dict[str, Any] | None = None) -> str:
        """Why a tool refuses; every refusal is of the same kind, as theirs are."""
        try:
            answer = self.text(tool, arguments)
        except Refused as error:
            assert error.code == INVALID_PARAMS
            return str(error)
        raise AssertionError(f"{tool} answered {answer}")

    def run(self, name: str, args: Sequence[str] = ()) -> str:
        """The execution's id of a scheduler that was begun."""
        began = self.call("run_scheduler", {"name": name, "args": list(args)})
        assert began["status"] == "started"
        id: str = began["execution_id"]
        return id

    def status(self, execution_id: str) -> dict[str, Any]:
        """Of an execution."""
        return self.call("get_execution_status", {"execution_id": execution_id})

    def close(self) -> int:
        """Hang up; how the server ended."""
        _pipe(self.process.stdin).close()
        code = self.process.wait(60)
        _pipe(self.process.stdout).close()
        return code

    def _write(self, message: dict[str, Any]) -> None:
        pipe = _pipe(self.process.stdin)
        pipe.write(json.dumps(message).encode() + b"\n")
        pipe.flush()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
