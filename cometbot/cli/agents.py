"""``cometbot agents``: the agents of the CometChat app, which CometChat calls over AG-UI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandGroup
from cometbot.cli._account import CometChatAccount, confirm, explain_errors, load_configured_bots, open_account
from cometbot.cli._differences import differences_to_json, print_differences
from cometbot.cli._output import make_table, print_json, print_table, sanitize, to_cell
from cometbot.cli._params import app_option
from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.bot import Bot
    from cometbot.channels.cometchat.agents import AgentSyncPlan, RegisteredAgent

_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON; the headers' values are masked.")


@click.group(cls=CommandGroup)
def agents() -> None:
    """Manage the agents of your CometChat app, which CometChat calls over AG-UI.

    The settings of the app are COMETCHAT_APP_ID, COMETCHAT_REGION and COMETCHAT_API_KEY.
    """


@agents.command("list")
@app_option
@_json_option
def list_agents(app_name: str, as_json: bool) -> None:
    """List the agents of the app, of every provider."""
    from cometbot.channels.cometchat.agents import list_agents

    with open_account(app_name) as app, explain_errors():
        found = list_agents(app.client)
    if as_json:
        print_json([agent.to_json() for agent in found])
    elif found:
        print_table(_make_table(found))
    else:
        click.echo("The app has no agents. Register your bots with: cometbot agents sync")


@agents.command()
@click.argument("bot", required=False, default="", metavar="[BOT]")
@click.option(
    "--url",
    metavar="URL",
    default="",
    help="Base URL of your server, https://host (default: COMETBOT_PUBLIC_URL).",
)
@click.option("--icon", metavar="URL", default="", help="Picture of a new agent (default: that of the bot's user).")
@click.option("--uid", metavar="UID", default="", help="The bot's agent, if its URL does not tell.")
@click.option("--dry-run", is_flag=True, help="Only show the differences. The exit code is 1 if there are any.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@app_option
@_json_option
def sync(bot: str, url: str, icon: str, uid: str, dry_run: bool, yes: bool, app_name: str, as_json: bool) -> None:
    """Register the bots of this server as agents, or update their registration.

    BOT is module:attribute or file.py:attribute. Default: COMETBOT_BOT, else the only bot of bot.py.

    CometChat will call URL/agui/BOT with the first token of AGUI_TOKEN. The command shows the differences before it
    changes anything. Names, pictures and texts of agents that exist stay unchanged.
    """
    with open_account(app_name) as app:
        configured = load_configured_bots(bot, app.settings)
        app.settings.check_bots(item.name for item in configured)
        if uid and len(configured) > 1:
            raise click.UsageError("--uid takes one bot; pass BOT.")
        if "agui" not in app.settings.channels:
            click.echo("Warning: agui is not in COMETBOT_CHANNELS, so your server does not answer agents.", err=True)
        plans = _plan(app, configured, url or app.settings.public_url, icon, uid)
        _print_plans(plans, as_json=as_json)
        changed_plans = [plan for plan in plans if plan.differences]
        if dry_run:
            raise SystemExit(1 if changed_plans else 0)
        if changed_plans and not yes:
            confirm("Apply these changes?")
        for plan in changed_plans:
            _apply(plan, app, as_json=as_json)


@agents.command()
@click.argument("uid", metavar="UID")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@app_option
def delete(uid: str, yes: bool, app_name: str) -> None:
    """Delete an agent on CometChat. "cometbot agents list" shows the UIDs."""
    from cometbot.channels.cometchat.agents import find_agent, list_agents

    with open_account(app_name) as app, explain_errors(uid):
        agent = find_agent(list_agents(app.client), "", "", uid=uid)
        name = sanitize(agent.name if agent else uid)
        if not yes:
            confirm(f"Delete the agent {name}?")
        app.client.delete_agent(uid)
    click.echo(f"Deleted {name}.")


def _make_table(found: Sequence[RegisteredAgent]) -> Table:
    table = make_table("UID", "Name", "Provider", "Active", "Headers", last_column="URL")
    for agent in found:
        headers = ", ".join(agent.headers) or "none"
        row = (agent.uid, agent.name, agent.provider, "yes" if agent.enabled else "no", headers, agent.masked_url)
        table.add_row(*map(to_cell, row))
    return table


def _plan(app: CometChatAccount, bots: Sequence[Bot], url: str, icon: str, uid: str) -> list[AgentSyncPlan]:
    from cometbot.channels.cometchat.agents import list_agents, plan_agent_sync

    if not app.settings.agui_token:
        raise ConfigurationError(
            "AGUI_TOKEN: expected a token of at least 32 characters, got none. Add one to .env, for example "
            '"openssl rand -hex 32", and restart the server with it'
        )
    if not url:
        raise ConfigurationError(
            "the public URL of the server is not configured. Pass it, for example --url https://bots.example.com, or "
            "set COMETBOT_PUBLIC_URL"
        )
    token = app.settings.agui_token[0]
    with explain_errors(uid):
        found = list_agents(app.client)
        return [plan_agent_sync(app.client, bot, found, url=url, token=token, uid=uid, icon=icon) for bot in bots]


def _print_plans(plans: Sequence[AgentSyncPlan], *, as_json: bool) -> None:
    if as_json:
        print_json([_plan_to_json(plan) for plan in plans])
        return
    for plan in plans:
        if plan.differences:
            print_differences(plan.bot, plan.differences)
        else:
            click.echo(f"{plan.bot} is in sync.")


def _plan_to_json(plan: AgentSyncPlan) -> dict[str, Any]:
    differences = differences_to_json(plan.differences)
    uid = plan.registered.uid if plan.registered else ""
    return {"bot": plan.bot, "uid": uid, "agrees": not differences, "differences": differences}


def _apply(plan: AgentSyncPlan, app: CometChatAccount, *, as_json: bool) -> None:
    with explain_errors(plan.registered.uid if plan.registered else plan.bot):
        uid = plan.apply(app.client)
    click.echo(f"{plan.bot} is now in sync, as the agent {sanitize(uid)}.", err=as_json)
