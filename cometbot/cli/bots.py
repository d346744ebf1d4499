"""``cometbot bots``: the bots of the CometChat app, as on the dashboard's bot page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandGroup
from cometbot.cli._account import (
    CometChatAccount,
    confirm,
    explain_errors,
    load_configured_bots,
    open_account,
    print_credentials,
)
from cometbot.cli._differences import differences_to_json, print_differences
from cometbot.cli._output import make_table, print_json, print_table, sanitize, to_cell
from cometbot.cli._params import GROUP_SETTINGS, app_option, shared_options
from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.bot import Bot
    from cometbot.channels.cometchat.provision import RegisteredBot, SyncPlan
    from cometbot.settings import Credentials, Settings

_group_setting_option = click.option(
    "--group-setting", type=click.Choice(GROUP_SETTINGS), help="Group messages that the bot receives."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON; passwords are masked.")
_url_option = click.option(
    "--url",
    metavar="URL",
    default="",
    help="Base URL of your server, https://host (default: COMETBOT_PUBLIC_URL).",
)
_registration_options = shared_options(
    click.argument("uid", metavar="UID"),
    _url_option,
    click.option(
        "--webhook-url",
        metavar="URL",
        default="",
        help="Complete callback URL, for a bot that is not served by cometbot.",
    ),
    click.option("--name", metavar="NAME", default="", help="Name of its user; create uses it for a new user only."),
    click.option("--avatar", metavar="URL", default="", help="URL of its user's picture; likewise."),
    _group_setting_option,
    click.option("--username", metavar="NAME", default="", help="User name for CometChat's callbacks."),
    click.option(
        "--password", metavar="TEXT", default="", help="Password for CometChat's callbacks. Default: a generated one."
    ),
    click.option("--no-login", is_flag=True, help="Let CometChat call without credentials."),
    app_option,
    _json_option,
)
"""The argument and the options that create and update share."""


@click.group(cls=CommandGroup)
def bots() -> None:
    """Manage the bots of your CometChat app.

    The settings of the app are COMETCHAT_APP_ID, COMETCHAT_REGION and COMETCHAT_API_KEY.
    """


@bots.command("list")
@click.option("--search", default="", metavar="TEXT", help="Only bots whose UID begins with TEXT.")
@click.option("--ai", is_flag=True, help="List the bots of CometChat's AI product instead.")
@app_option
@_json_option
def list_bots(search: str, ai: bool, app_name: str, as_json: bool) -> None:
    """List the bots of the app."""
    from cometbot.channels.cometchat import provision

    with open_account(app_name) as app, explain_errors():
        bots_found = list(provision.list_bots(app.client, search=search, ai=ai))
    if as_json:
        print_json([bot.to_json() for bot in bots_found])
    elif bots_found:
        print_table(make_bot_table(bots_found))
    else:
        click.echo("No bot found." if search else "The app has no bots. Create one with: cometbot bots create UID")


@bots.command()
@_registration_options
@click.option("--disabled", is_flag=True, help="Register the bot without enabling it.")
def create(uid: str, name: str, avatar: str, disabled: bool, app_name: str, as_json: bool, **options: Any) -> None:
    """Register a user as a bot; create the user if necessary.

    CometChat will call URL/cometchat/UID, in one app of several URL/cometchat/APP/UID, with the credentials of
    COMETBOT_CALLBACK_USERNAME and COMETBOT_CALLBACK_PASSWORD. If these are not set, credentials are generated and shown
    once.
    """
    from cometbot.channels.cometchat import group_setting, provision

    uid = _validate_uid(uid)
    with open_account(app_name) as app, explain_errors(uid):
        url = _resolve_url(app, uid, options["url"] or app.settings.public_url, options["webhook_url"])
        if not url:
            raise click.UsageError(
                "Missing option --url (or --webhook-url), for example --url https://bots.example.com"
            )
        credentials, is_generated = _resolve_credentials(app.settings, uid, **_login_options(options))
        plan = provision.BotPlan(
            uid=uid,
            url=url,
            name=name,
            avatar=avatar,
            group_setting=options["group_setting"] or group_setting.MENTIONED,
            credentials=credentials,
            enabled=not disabled,
        )
        bot, is_user_new = provision.create_bot(app.client, plan)
    outcome = f"is registered{', with a new user' if is_user_new else ''}"
    generated = credentials if is_generated else None
    _print_result(bot, outcome, generated, app.settings, as_json=as_json, extra={"userMade": is_user_new})


@bots.command()
@_registration_options
@click.option("--enable/--disable", "enabled", default=None, help="Let CometChat call the bot, or not.")
@click.option("--new-password", is_flag=True, help="Generate a new password and show it once.")
def update(
    uid: str, name: str, avatar: str, enabled: bool | None, app_name: str, as_json: bool, **options: Any
) -> None:
    """Change a bot's registration on CometChat. Options that are not given stay unchanged."""
    from cometbot.channels.cometchat import provision

    uid = uid.lower()
    with open_account(app_name) as app, explain_errors(uid):
        user_changes = {key: value for key, value in (("name", name), ("avatar", avatar)) if value}
        url = _resolve_url(app, uid, options["url"], options["webhook_url"])
        requested = {"webhookURL": url or None, "groupChatSetting": options["group_setting"], "enabled": enabled}
        changes = {key: value for key, value in requested.items() if value is not None}
        login = _login_options(options)
        credentials: Credentials | None = None
        is_generated = False
        if any(login.values()) or options["new_password"]:
            current_username = (
                "" if login["username"] or login["no_login"] else str(app.client.get_bot(uid).get("username") or "")
            )
            credentials, is_generated = _resolve_credentials(
                app.settings, uid, **login, new_password=options["new_password"], current_username=current_username
            )
            changes |= provision.make_basic_auth_changes(credentials)
        if not changes and not user_changes:
            raise click.UsageError("Nothing to change. cometbot bots update --help lists the options.")
        bot = provision.update_bot(app.client, uid, changes)
        if user_changes:
            app.client.update_user(uid, user_changes)
    _print_result(bot, "is updated", credentials if is_generated else None, app.settings, as_json=as_json)


@bots.command()
@click.argument("uid", metavar="UID")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@app_option
def delete(uid: str, yes: bool, app_name: str) -> None:
    """Unregister a bot. Its user and its messages are kept.

    "cometbot bots update UID --disable" only stops CometChat from calling it.
    """
    uid = uid.lower()
    with open_account(app_name) as app, explain_errors(uid):
        app.client.get_bot(uid)
        if not yes:
            confirm(f"Unregister the bot {sanitize(uid)}?")
        app.client.delete_bot(uid)
    click.echo(f"Unregistered {sanitize(uid)}. Its user and its messages are kept.")


@bots.command()
@click.argument("bot", required=False, default="", metavar="[BOT]")
@_url_option
@_group_setting_option
@click.option("--dry-run", is_flag=True, help="Only show the differences. The exit code is 1 if there are any.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@app_option
@_json_option
def sync(bot: str, url: str, group_setting: str | None, dry_run: bool, yes: bool, app_name: str, as_json: bool) -> None:
    """Update the registration on CometChat from the code and the settings.

    BOT is module:attribute or file.py:attribute. Default: COMETBOT_BOT, else the only bot of bot.py.

    The command compares the user, the bot, its URL and credentials, and the group messages that its handlers need. It
    shows the differences before it changes anything.
    """
    from cometbot.channels.cometchat.provision import plan_sync

    with open_account(app_name) as app:
        configured = load_configured_bots(bot, app.settings)
        app.settings.check_bots(item.name for item in configured)
        plans = []
        for item in configured:
            with explain_errors(item.name):
                plans.append(plan_sync(app.client, item, app.settings, url=url, group_setting=group_setting or ""))
        _print_plans(plans, configured, as_json=as_json, has_chosen_setting=bool(group_setting))
        changed_plans = [plan for plan in plans if plan.differences]
        if dry_run:
            raise SystemExit(1 if changed_plans else 0)
        if changed_plans and not yes:
            confirm("Apply these changes?")
        for plan, item in zip(plans, configured, strict=True):
            if plan.differences:
                _apply_plan(plan, item, app, as_json=as_json, is_only_bot=len(plans) == 1)


def make_bot_table(registered: Sequence[RegisteredBot]) -> Table:
    """Return a table for the terminal, with one row per bot."""
    table = make_table("UID", "Enabled", "Groups", "User name", last_column="URL")
    for bot in registered:
        login = bot.username if bot.uses_basic_auth else "none"
        row = (bot.uid, "yes" if bot.enabled else "no", bot.group_setting, login, bot.masked_url)
        table.add_row(*map(to_cell, row))
    return table


def _validate_uid(text: str) -> str:
    """Return the uid in lower case, as CometChat stores it.

    Raises :class:`ConfigurationError` if it is invalid for a bot.
    """
    from cometbot.channels.cometchat.provision import MAX_UID_LENGTH

    uid = text.lower()
    if not re.fullmatch(rf"[a-z0-9_-]{{1,{MAX_UID_LENGTH}}}", uid):
        raise ConfigurationError(f"UID: expected at most {MAX_UID_LENGTH} characters of a-z, 0-9, - and _, got {uid!r}")
    return uid


def _resolve_url(app: CometChatAccount, uid: str, base: str, full_url: str) -> str:
    """Return the URL that CometChat should call, or "" if none is given."""
    from cometbot.channels.cometchat.provision import callback_url, check_url

    url = full_url or (callback_url(base, uid, app.settings.callback_path) if base else "")
    return check_url(url, app.client.api_url) if url else ""


def _login_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("username", "password", "no_login")}


def _resolve_credentials(
    settings: Settings,
    uid: str,
    *,
    username: str,
    password: str,
    no_login: bool,
    new_password: bool = False,
    current_username: str = "",
) -> tuple[Credentials | None, bool]:
    """Return the credentials for CometChat's callbacks, and whether they were generated here.

    ``current_username`` is the bot's current user name on CometChat.
    """
    from cometbot.channels.cometchat.provision import check_credentials, generate_credentials
    from cometbot.settings import Credentials, Secret

    if no_login and (username or password or new_password):
        raise click.UsageError("--no-login cannot be combined with --username, --password and --new-password.")
    if new_password and password:
        raise click.UsageError("--new-password cannot be combined with --password.")
    if no_login:
        return None, False
    configured = settings.callback_credentials(uid)
    generated = generate_credentials(username or current_username or (configured.username if configured else ""))
    if password:
        return check_credentials(Credentials(generated.username, Secret(password))), False
    if configured and not new_password and username in ("", configured.username):
        return check_credentials(configured), False
    return check_credentials(generated), True


def _print_result(
    bot: RegisteredBot,
    outcome: str,
    generated: Credentials | None,
    settings: Settings,
    *,
    as_json: bool,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Print the bot as it is now on CometChat, and the credentials if they were generated."""
    if as_json:
        print_json({**bot.to_json(), **(extra or {})})
    else:
        _print_bot(bot, outcome)
    _print_new_credentials(generated, settings, bot.uid, as_json=as_json)


def _print_bot(bot: RegisteredBot, outcome: str) -> None:
    click.echo(f"{sanitize(bot.uid)} {outcome}.")
    rows = [
        ("URL", bot.masked_url),
        ("groups", bot.group_setting),
        ("enabled", "yes" if bot.enabled else "no"),
        ("user name", bot.username if bot.uses_basic_auth else "none: CometChat calls without credentials"),
    ]
    for name, value in rows:
        click.echo(f"{click.style(f'{name:<10}', bold=True)} {sanitize(value)}")
    if not bot.uses_basic_auth:
        click.echo("cometbot rejects such calls unless COMETBOT_ALLOW_ANONYMOUS_CALLBACKS=1 is set.")


def _apply_plan(plan: SyncPlan, bot: Bot, app: CometChatAccount, *, as_json: bool, is_only_bot: bool) -> None:

    with explain_errors(plan.wanted.uid):
        plan.apply(app.client)
    click.echo(f"{bot.name} is now in sync.", err=as_json)
    generated = plan.wanted.credentials if plan.has_new_credentials else None
    _print_new_credentials(generated, app.settings, bot.name, as_json=as_json, is_only_bot=is_only_bot)


def _print_plans(plans: Sequence[SyncPlan], bots: Sequence[Bot], *, as_json: bool, has_chosen_setting: bool) -> None:
    from cometbot.channels.cometchat.group_setting import describe_lost_answers

    if as_json:
        print_json([_plan_to_json(plan, bot) for plan, bot in zip(plans, bots, strict=True)])
        return
    for plan, bot in zip(plans, bots, strict=True):
        _print_plan(plan, bot, has_chosen_setting=has_chosen_setting)
        if lost := describe_lost_answers(plan.wanted.group_setting, bot):
            click.echo(f"Warning: {lost}.")


def _print_plan(plan: SyncPlan, bot: Bot, *, has_chosen_setting: bool) -> None:
    if not plan.differences:
        click.echo(f"{bot.name} is in sync.")
        return
    print_differences(bot.name, plan.differences)
    if not has_chosen_setting:
        _explain_group_setting(bot)


def _plan_to_json(plan: SyncPlan, bot: Bot) -> dict[str, Any]:
    differences = differences_to_json(plan.differences)
    return {"bot": bot.name, "uid": plan.wanted.uid, "agrees": not differences, "differences": differences}


def _explain_group_setting(bot: Bot) -> None:
    """Explain which group setting the bot needs, why, and what follows from it."""
    from cometbot.channels.cometchat.group_setting import find_required_group_setting

    need = find_required_group_setting(bot)
    if need.handler:
        click.echo(f"Group messages: {need.setting}, because of {need.handler}.")
    else:
        click.echo("Group messages: none, because all handlers are for one-to-one messages.")
    if need.commands:
        click.echo(f"In groups, commands then need a mention: @{bot.name} {need.commands[0]}.")
    if need.opaque:
        click.echo(f"{need.opaque[0]} may need more: its matcher is a function, which cannot be analysed.")
    if need.commands or need.opaque:
        click.echo("Choose another setting with --group-setting.")


def _print_new_credentials(
    generated: Credentials | None, settings: Settings, name: str, *, as_json: bool, is_only_bot: bool = True
) -> None:
    """Print generated credentials for ``.env``.

    They get the bot's own variables if the common ones are in use, or if there are several bots, and those of the app
    if there are several apps.
    """
    from cometbot.settings import variable_suffix

    if generated is None:
        return
    bot, app = variable_suffix(name), variable_suffix(settings.cometchat_app)
    if app:
        suffix = f"__{app}" if is_only_bot and app not in settings.bot_credentials else f"__{app}__{bot}"
    else:
        is_taken = bool(settings.callback_username) or bot in settings.bot_credentials
        suffix = f"__{bot}" if is_taken or not is_only_bot else ""
    click.echo(err=as_json)
    print_credentials(generated.username, generated.password.reveal(), suffix=suffix, err=as_json)
