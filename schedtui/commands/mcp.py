"""``schedtui mcp``: the agent's tools for any other program, over the Model Context Protocol.

The server itself is schedtui.mcp; here are its options.
"""

from __future__ import annotations

from pathlib import Path

import click

from schedtui.commands.options import lab_options, machine_option


@click.command()
@machine_option
@click.option(
    "--as",
    "name",
    default="client",
    show_default=True,
    metavar="NAME",
    help="Who the program is: trust and history go by it.",
)
@click.option("--yes", is_flag=True, help="Ask nothing: what is proven is tried, and kept when it is better.")
@click.option(
    "--folder",
    "folders",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    multiple=True,
    metavar="DIR",
    help="A folder that a project may be in. Repeatable.",
)
@click.option("--command", "commands", multiple=True, metavar="COMMAND", help="A command that may be run. Repeatable.")
@lab_options
@click.pass_context
def mcp(
    context: click.Context,
    machine: str | None,
    name: str,
    yes: bool,
    folders: tuple[Path, ...],
    commands: tuple[str, ...],
    kernel: Path | None,
    cpus: int | None,
) -> None:
    """Serve schedtui's tools to another program (an MCP client) on stdin and stdout."""
    from schedtui.mcp.place import Place
    from schedtui.mcp.stdio import serve

    kind = machine or context.obj or "host"
    if kind != "lab" and (kernel or cpus):
        raise click.UsageError("--kernel and --cpus are for the lab: add --machine lab.")
    place = Place(kind, consent="yes" if yes else "no", kernel=kernel, cpus=cpus, folders=folders, commands=commands)
    serve(place, name)
