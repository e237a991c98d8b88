"""``schedtui mcp``: the agent's tools for any other program, over the Model Context Protocol.

The server itself is schedtui.mcp; here are its options.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from schedtui.commands.options import Duration, json_option, lab_options, machine_option

if TYPE_CHECKING:
    from schedtui.mcp.configuration import ClientKind
    from schedtui.mcp.place import Place

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_CLIENTS = ("claude", "cursor", "vscode", "codex")


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
@click.option(
    "--http",
    "port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve on this port of 127.0.0.1, for any number of programs, each with a token; 0 finds a free one.",
)
@click.option("--idle", type=Duration(), metavar="DURATION", help="With --http: who is silent this long is gone. [15m]")
@click.option("--token", metavar="NAME", help="Print the token of a program, made when it has none, and end.")
@click.option("--revoke", metavar="NAME", help="Accept the token of a program no more, and end.")
@click.option(
    "--print-config",
    "client",
    type=click.Choice(_CLIENTS),
    help="Print what makes that client know schedtui, and end.",
)
@click.option("--list", "lists", is_flag=True, help="Print which programs are connected now and what they do, and end.")
@click.option(
    "--take-back",
    "taken",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Take the machine back from the program NAME, or from all that are connected, and end.",
)
@json_option
@lab_options
@click.pass_context
def mcp(
    context: click.Context,
    machine: str | None,
    name: str,
    yes: bool,
    folders: tuple[Path, ...],
    commands: tuple[str, ...],
    port: int | None,
    idle: float | None,
    token: str | None,
    revoke: str | None,
    client: ClientKind | None,
    lists: bool,
    taken: str | None,
    as_json: bool,
    kernel: Path | None,
    cpus: int | None,
) -> None:
    """Serve schedtui's tools to another program (an MCP client) on stdin and stdout, or with --http over HTTP."""
    if not _NAME.fullmatch(name):
        raise click.BadParameter("A name is of letters, digits, “.”, “_” and “-”, 32 at most.", param_hint="--as")
    if token is not None or revoke is not None:
        _keep_tokens(token, revoke)
        return
    if client is not None:
        _print_configuration(context, client, port)
        return
    if lists or taken is not None:
        _look_after(taken, as_json)
        return
    from schedtui.mcp.live import Live
    from schedtui.mcp.place import Place
    from schedtui.mcp.sdk import hastened

    if idle is not None and port is None:
        raise click.UsageError("--idle is for --http.")
    kind = machine or context.obj or "host"
    if kind != "lab" and (kernel or cpus):
        raise click.UsageError("--kernel and --cpus are for the lab: add --machine lab.")
    place = Place(kind, consent="yes" if yes else "no", kernel=kernel, cpus=cpus, folders=folders, commands=commands)
    live = Live(place, only=port is None)
    live.start()
    try:
        if port is not None:
            context.exit(128 + _serve_http(place, name, port, idle))
        with hastened():
            from schedtui.mcp.stdio import serve
        if ended_by := serve(place, name):
            context.exit(128 + ended_by)
    finally:
        live.close()


def _serve_http(place: Place, name: str, port: int, idle: float | None) -> int:
    """Returns the number of the signal that ended it."""
    from schedtui.mcp.http import Limits, serve
    from schedtui.mcp.tokens import Tokens

    tokens = Tokens()
    if not tokens.names():
        tokens.token(name)
    names = ", ".join(tokens.names())

    def ready(url: str) -> None:
        click.echo(url)
        click.echo(f"Programs with a token: {names}. To see one: schedtui mcp --token NAME. Ctrl-C ends.", err=True)

    return serve(place, tokens, port, ready, Limits(idle_s=idle) if idle else None)


def _look_after(taken: str | None, as_json: bool) -> None:
    from schedtui.commands.clients import list_clients, take_back

    if taken is None:
        list_clients(as_json)
    else:
        take_back(taken, as_json)


def _keep_tokens(shown: str | None, revoked: str | None) -> None:
    from schedtui.mcp.tokens import Tokens

    tokens = Tokens()
    if revoked is not None:
        tokens.revoke(revoked)
        click.echo(f"The token of {revoked} is accepted no more.", err=True)
    if shown is not None:
        click.echo(tokens.token(shown))


def _print_configuration(context: click.Context, client: ClientKind, port: int | None) -> None:
    from schedtui.mcp.configuration import for_http, for_stdio

    if port == 0:
        raise click.UsageError("A configuration needs the port that the server has: --http PORT.")
    printed = for_http(client, port) if port else for_stdio(client, *_options(context))
    click.echo(printed.text)
    click.echo(printed.advice, err=True)


def _options(context: click.Context) -> tuple[tuple[str, ...], str]:
    """Of this command line, what the server is to be started with; and as whom, when that was said."""
    given = context.params
    machine = given["machine"] or (context.obj if context.obj != "host" else None)
    named = context.get_parameter_source("name") == ParameterSource.COMMANDLINE
    options = (
        *(("--machine", machine) if machine else ()),
        *(("--yes",) if given["yes"] else ()),
        *(part for each in given["folders"] for part in ("--folder", str(each))),
        *(part for each in given["commands"] for part in ("--command", each)),
        *(("--kernel", str(given["kernel"].absolute())) if given["kernel"] else ()),
        *(("--cpus", str(given["cpus"])) if given["cpus"] else ()),
    )
    return options, given["name"] if named else ""
