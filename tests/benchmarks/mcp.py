"""The MCP server's numbers: how long a program waits for the first answer, and what a call costs beyond its work.

The SDK's own client measures, over stdio, against ``schedtui mcp`` in a process of its own. Lines as product.py's.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from schedtui.agent.toolset import tools

COMMAND = Path(sys.executable).parent / "schedtui"
_STARTS, _CALLS, _FIRST_CALLS = 10, 200, 10


def _server(place: str) -> StdioServerParameters:
    """On this computer, with folders of its own; Python may keep what it has compiled, as it does for a user."""
    own = dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"), place)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return StdioServerParameters(command=str(COMMAND), args=["mcp"], env={**kept, **own})


async def first_answer_s(place: str) -> float:
    """Seconds from the start of the server until ``initialize`` is answered."""
    began = time.perf_counter()
    async with stdio_client(_server(place)) as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        return time.perf_counter() - began


async def calls_ms(place: str) -> list[float]:
    """Milliseconds of calls of a tool that does next to nothing, one after the other."""
    taken = []
    async with stdio_client(_server(place)) as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        for number in range(_FIRST_CALLS + _CALLS):
            began = time.perf_counter()
            answer = await client.call_tool("header_reference", {"topic": "slice"})
            if answer.is_error:
                raise click.ClickException(answer.content[0].text)  # type: ignore[union-attr]
            if number >= _FIRST_CALLS:
                taken.append(1000 * (time.perf_counter() - began))
    return taken


def work_ms() -> float:
    """What that tool itself takes."""
    tool = next(each for each in tools() if each.name == "header_reference")
    given = tool.arguments(topic="slice")
    began = time.perf_counter()
    for _ in range(_CALLS):
        tool.run(None, given)  # type: ignore[arg-type]  it looks at nothing
    return 1000 * (time.perf_counter() - began) / _CALLS


def _line(label: str, values: list[float], unit: str, goal: str, form: str) -> None:
    middle, high = statistics.median(values), statistics.quantiles(values, n=20)[-1]
    click.echo(f"{label:<44} {middle:{form}} {unit}  (p95 {high:{form}}, n={len(values)})  goal {goal}")


def main() -> None:
    """Measure all of it."""
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(first_answer_s(place))
        starts = [asyncio.run(first_answer_s(place)) for _ in range(_STARTS)]
        _line("MCP: start to first answer", starts, "s", "≤ 1 s", ".2f")
        work = work_ms()
        beyond = [each - work for each in asyncio.run(calls_ms(place))]
        _line("MCP: a call over stdio beyond its work", beyond, "ms", "≤ 15 ms", ".1f")


if __name__ == "__main__":
    main()
