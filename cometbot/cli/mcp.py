"""``cometbot mcp``: serves the tools of a bot to other programs."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from typing import TYPE_CHECKING

import click

from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from cometbot.mcp.server import ToolServer


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option("--http", metavar="HOST:PORT", help="Serve streamable HTTP there. Default: standard input and output.")
def mcp(bot: str | None, http: str | None) -> None:
    """Serve the tools of a bot (@bot.tool) as an MCP server.

    BOT is module:attribute. Default: COMETBOT_BOT, else the only bot of bot.py. Tools that need the context of a
    conversation or an approval are left out.

    With --http, clients send COMETBOT_MCP_TOKEN as their bearer token. Without that setting, HOST must be this machine.
    """
    from cometbot.loading import choose_bot, load_bots_or_explain
    from cometbot.mcp.server import LOOPBACK, PATH, ToolServer
    from cometbot.settings import Settings
    from cometbot.web.logs import configure_logging

    settings = Settings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    token = settings.mcp_token.reveal()
    host, port = _parse_address(http) if http is not None else ("", 0)
    if http is not None and not token and host not in LOOPBACK:
        raise ConfigurationError(
            f"--http {http}: other machines may call the tools there, so a token is needed; set COMETBOT_MCP_TOKEN to "
            "a random text, or use 127.0.0.1"
        )
    with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the protocol
        spec = choose_bot(bot or "", settings)
        bots = load_bots_or_explain(spec)
    if len(bots) != 1:
        raise ConfigurationError(
            f"expected one bot, got {len(bots)} in {spec}; name one: cometbot mcp module:attribute"
        )
    server = ToolServer(bots[0])
    if http is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # what a tool prints goes to standard error, at once
        _explain(server, "standard input and output")
        server.run_stdio()
        return
    with _listen(host, port) as listener:
        _explain(server, f"http://{_format_host(host)}:{listener.getsockname()[1]}{PATH}")
        server.run_http(listener, token)


def _explain(server: ToolServer, place: str) -> None:
    names = ", ".join(server.served.tools) or "no tools"
    click.echo(f"Serving {names} over {place}.", err=True)
    for name, reason in server.served.left_out.items():
        click.echo(f"Not served: {name}, because {reason}.", err=True)


def _parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ConfigurationError(f"--http: expected HOST:PORT, such as 127.0.0.1:8765, got {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _format_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigurationError(f"--http: cannot listen at {host}:{port}: {error}") from error
