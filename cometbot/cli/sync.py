"""``cometbot bots sync``: CometChat made to agree with the code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli.tables import make_table, print_json, print_table, to_cell

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.cometchat.sync import SyncPlan
    from cometbot.cli.account import Account
    from cometbot.settings import Credentials, Settings

GROUP_SETTINGS = ("none", "allMessages", "slashedMessages", "mentionedMessages")

group_setting_option = click.option(
    "--group-setting", type=click.Choice(GROUP_SETTINGS), help="Which messages of groups the bot gets."
)
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON; passwords are masked.")
url_option = click.option(
    "--url", metavar="URL", default="", help="Where your server is reached (COMETBOT_PUBLIC_URL): https://host"
)


@click.command()
@click.argument("bot", required=False, default="", metavar="[BOT]")
@url_option
@group_setting_option
@click.option("--dry-run", is_flag=True, help="Only show what differs; the exit code is 1 if anything does.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def sync(bot: str, url: str, group_setting: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make CometChat agree with the code.

    BOT is module:attribute or file.py:attribute. Without it COMETBOT_BOT counts, else the only bot of bot.py.

    What is compared: that user and bot exist and are enabled, the URL, the user name and password, and which messages
    of groups the handlers need. Differences are shown before anything is changed.
    """
    from cometbot.channels.cometchat.sync import plan_sync
    from cometbot.cli.account import account, advised, ask, load_authors_bots

    with account() as app:
        loaded = load_authors_bots(bot, app.settings)
        app.settings.check_bots(item.name for item in loaded)
        plans = []
        for item in loaded:
            with advised(item.name):
                plans.append(plan_sync(app.client, item, app.settings, url=url, group_setting=group_setting or ""))
        _show_plans(plans, loaded, as_json=as_json, is_chosen=bool(group_setting))
        different = [plan for plan in plans if plan.differences]
        if dry_run:
            raise SystemExit(1 if different else 0)
        if different and not yes:
            ask("Shall CometChat be changed like this?")
        for plan, item in zip(plans, loaded, strict=True):
            if plan.differences:
                _carry_out(plan, item, app, as_json=as_json, is_alone=len(plans) == 1)


def _carry_out(plan: SyncPlan, bot: Bot, app: Account, *, as_json: bool, is_alone: bool) -> None:
    from cometbot.cli.account import advised

    with advised(plan.wanted.uid):
        plan.carry_out(app.client)
    click.echo(f"CometChat agrees with {bot.name} now.", err=as_json)
    made = plan.wanted.credentials if plan.made else None
    tell_credentials(made, app.settings, bot.name, as_json=as_json, is_alone=is_alone)


def _show_plans(plans: Sequence[SyncPlan], loaded: Sequence[Bot], *, as_json: bool, is_chosen: bool) -> None:
    if as_json:
        print_json([_plan_to_json(plan, bot) for plan, bot in zip(plans, loaded, strict=True)])
        return
    for plan, bot in zip(plans, loaded, strict=True):
        if not plan.differences:
            click.echo(f"CometChat agrees with {bot.name}.")
            continue
        click.echo(f"{bot.name} on CometChat:")
        table = make_table("", "Now", fold="Then")
        for item in plan.differences:
            table.add_row(*map(to_cell, (item.what, item.now, item.then)))
        print_table(table)
        if not is_chosen:
            _explain_groups(bot)


def _plan_to_json(plan: SyncPlan, bot: Bot) -> dict[str, Any]:
    differences = [{"what": item.what, "now": item.now, "then": item.then} for item in plan.differences]
    return {"bot": bot.name, "uid": plan.wanted.uid, "agrees": not differences, "differences": differences}


def _explain_groups(bot: Bot) -> None:
    """Say why the group setting is as it is, and what it costs."""
    from cometbot.channels.cometchat.provision import find_group_need

    need = find_group_need(bot)
    if need.handler:
        click.echo(f"Of groups it needs {need.setting}, because of {need.handler}.")
    else:
        click.echo("Of groups it needs nothing: all its handlers are for one-to-one messages.")
    if need.commands:
        click.echo(f"In a group its commands want a mention then: @{bot.name} {need.commands[0]}.")
    if need.opaque:
        click.echo(f"Whether {need.opaque[0]} wants more than that cannot be seen, since a function decides.")
    if need.commands or need.opaque:
        click.echo("--group-setting chooses another one.")


def tell_credentials(
    made: Credentials | None, settings: Settings, name: str, *, as_json: bool, is_alone: bool = True
) -> None:
    """Show credentials that were made; under the bot's own variables where those of all bots are taken."""
    from cometbot.cli.account import show_credentials
    from cometbot.settings import variable_suffix

    if made is None:
        return
    is_taken = bool(settings.callback_username) or variable_suffix(name) in settings.bot_credentials
    suffix = f"__{variable_suffix(name)}" if is_taken or not is_alone else ""
    click.echo(err=as_json)
    show_credentials(made.username, made.password.reveal(), suffix=suffix, err=as_json)
