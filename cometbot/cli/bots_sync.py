"""``cometbot bots sync``: updates CometChat so that it agrees with the code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli._output import make_table, print_json, print_table, to_cell

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.cometchat.provision import SyncPlan
    from cometbot.cli._account import CometChatAccount
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
    from cometbot.channels.cometchat.provision import plan_sync
    from cometbot.cli._account import confirm, explain_errors, load_configured_bots, open_account

    with open_account() as app:
        bots = load_configured_bots(bot, app.settings)
        app.settings.check_bots(item.name for item in bots)
        plans = []
        for item in bots:
            with explain_errors(item.name):
                plans.append(plan_sync(app.client, item, app.settings, url=url, group_setting=group_setting or ""))
        _print_plans(plans, bots, as_json=as_json, has_chosen_setting=bool(group_setting))
        changed_plans = [plan for plan in plans if plan.differences]
        if dry_run:
            raise SystemExit(1 if changed_plans else 0)
        if changed_plans and not yes:
            confirm("Shall CometChat be changed like this?")
        for plan, item in zip(plans, bots, strict=True):
            if plan.differences:
                _apply_plan(plan, item, app, as_json=as_json, is_only_bot=len(plans) == 1)


def _apply_plan(plan: SyncPlan, bot: Bot, app: CometChatAccount, *, as_json: bool, is_only_bot: bool) -> None:
    from cometbot.cli._account import explain_errors

    with explain_errors(plan.wanted.uid):
        plan.apply(app.client)
    click.echo(f"CometChat agrees with {bot.name} now.", err=as_json)
    generated = plan.wanted.credentials if plan.has_new_credentials else None
    print_new_credentials(generated, app.settings, bot.name, as_json=as_json, is_only_bot=is_only_bot)


def _print_plans(plans: Sequence[SyncPlan], bots: Sequence[Bot], *, as_json: bool, has_chosen_setting: bool) -> None:
    if as_json:
        print_json([_plan_to_json(plan, bot) for plan, bot in zip(plans, bots, strict=True)])
        return
    for plan, bot in zip(plans, bots, strict=True):
        if not plan.differences:
            click.echo(f"CometChat agrees with {bot.name}.")
            continue
        click.echo(f"{bot.name} on CometChat:")
        table = make_table("", "Now", last_column="Then")
        for item in plan.differences:
            table.add_row(*map(to_cell, (item.field, item.current, item.wanted)))
        print_table(table)
        if not has_chosen_setting:
            _explain_group_setting(bot)


def _plan_to_json(plan: SyncPlan, bot: Bot) -> dict[str, Any]:
    differences = [{"what": item.field, "now": item.current, "then": item.wanted} for item in plan.differences]
    return {"bot": bot.name, "uid": plan.wanted.uid, "agrees": not differences, "differences": differences}


def _explain_group_setting(bot: Bot) -> None:
    """Explain which group setting the bot needs, why, and what follows from it."""
    from cometbot.channels.cometchat.group_setting import find_required_group_setting

    need = find_required_group_setting(bot)
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


def print_new_credentials(
    generated: Credentials | None, settings: Settings, name: str, *, as_json: bool, is_only_bot: bool = True
) -> None:
    """Print generated credentials for ``.env``.

    They get the bot's own variables if the common ones are in use, or if there are several bots.
    """
    from cometbot.cli._account import print_credentials
    from cometbot.settings import variable_suffix

    if generated is None:
        return
    is_taken = bool(settings.callback_username) or variable_suffix(name) in settings.bot_credentials
    suffix = f"__{variable_suffix(name)}" if is_taken or not is_only_bot else ""
    click.echo(err=as_json)
    print_credentials(generated.username, generated.password.reveal(), suffix=suffix, err=as_json)
