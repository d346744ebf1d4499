"""``cometbot bots``: the bots of the CometChat app, as on the dashboard's bot page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandGroup
from cometbot.cli._output import make_table, print_json, print_table, to_cell
from cometbot.cli._sanitize import sanitize
from cometbot.cli.bots_sync import group_setting_option, json_option, print_new_credentials, sync, url_option

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.channels.cometchat.provision import RegisteredBot
    from cometbot.cli._account import CometChatAccount
    from cometbot.settings import Credentials, Settings

_webhook_url_option = click.option(
    "--webhook-url", metavar="URL", default="", help="The whole URL to call, for a bot that is not served by cometbot."
)
_username_option = click.option("--username", metavar="NAME", default="", help="The user name that CometChat shows.")
_password_option = click.option(
    "--password", metavar="TEXT", default="", help="Its password; better left out, then one is made."
)


@click.group(cls=CommandGroup)
def bots() -> None:
    """See and change the bots of your app on CometChat.

    The app is the one of COMETCHAT_APP_ID, COMETCHAT_REGION and COMETCHAT_API_KEY.
    """


@bots.command("list")
@click.option("--search", default="", metavar="TEXT", help="Those whose UID begins like this.")
@click.option("--ai", is_flag=True, help="Those of CometChat's AI product instead.")
@json_option
def list_bots(search: str, ai: bool, as_json: bool) -> None:
    """Show the bots of the app."""
    from cometbot.channels.cometchat import provision
    from cometbot.cli._account import explain_errors, open_account

    with open_account() as app, explain_errors():
        bots_found = list(provision.list_bots(app.client, search=search, ai=ai))
    if as_json:
        print_json([bot.to_json() for bot in bots_found])
    elif bots_found:
        print_table(make_bot_table(bots_found))
    else:
        click.echo("There is no such bot." if search else "The app has no bots; cometbot bots create UID makes one.")


@bots.command()
@click.argument("uid", metavar="UID")
@url_option
@_webhook_url_option
@click.option("--name", metavar="NAME", default="", help="The name of its user, if that must be made.")
@click.option("--avatar", metavar="URL", default="", help="The picture of its user, if that must be made.")
@group_setting_option
@_username_option
@_password_option
@click.option("--no-login", is_flag=True, help="Let CometChat call without user name and password.")
@click.option("--disabled", is_flag=True, help="Register it, but let CometChat not call it yet.")
@json_option
def create(uid: str, name: str, avatar: str, disabled: bool, as_json: bool, **options: Any) -> None:
    """Make a user a bot; the user too, if there is none.

    CometChat will call URL/cometchat/UID, with the user name and password of COMETBOT_CALLBACK_USERNAME and
    COMETBOT_CALLBACK_PASSWORD. Where these are not set new ones are made, and shown this once.
    """
    from cometbot.channels.cometchat import group_setting, provision
    from cometbot.cli._account import explain_errors, open_account

    uid = _validate_uid(uid)
    with open_account() as app, explain_errors(uid):
        url = _resolve_url(app, uid, options["url"] or app.settings.public_url, options["webhook_url"])
        if not url:
            raise click.UsageError("Say where your server is reached, for example --url https://bots.example.com")
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
    outcome = f"is a bot now{', and its user was made too' if is_user_new else ''}"
    generated = credentials if is_generated else None
    _print_result(bot, outcome, generated, app.settings, as_json=as_json, extra={"userMade": is_user_new})


@bots.command()
@click.argument("uid", metavar="UID")
@url_option
@_webhook_url_option
@click.option("--name", metavar="NAME", default="", help="A new name for its user.")
@click.option("--avatar", metavar="URL", default="", help="A new picture for its user.")
@group_setting_option
@click.option("--enable/--disable", "enabled", default=None, help="Whether CometChat calls it.")
@_username_option
@_password_option
@click.option("--new-password", is_flag=True, help="Make a new password, and show it this once.")
@click.option("--no-login", is_flag=True, help="Let CometChat call without user name and password.")
@json_option
def update(uid: str, name: str, avatar: str, enabled: bool | None, as_json: bool, **options: Any) -> None:
    """Change what CometChat knows of a bot; what is not named stays as it is."""
    from cometbot.channels.cometchat import provision
    from cometbot.cli._account import explain_errors, open_account

    uid = uid.lower()
    with open_account() as app, explain_errors(uid):
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
            raise click.UsageError("Say what to change; cometbot bots update --help shows what can be.")
        bot = provision.update_bot(app.client, uid, changes)
        if user_changes:
            app.client.update_user(uid, user_changes)
    _print_result(bot, "is changed", credentials if is_generated else None, app.settings, as_json=as_json)


@bots.command()
@click.argument("uid", metavar="UID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(uid: str, yes: bool) -> None:
    """Make a bot an ordinary user again; the user and its messages stay.

    "cometbot bots update UID --disable" lets CometChat only stop calling it.
    """
    from cometbot.cli._account import confirm, explain_errors, open_account

    uid = uid.lower()
    with open_account() as app, explain_errors(uid):
        app.client.get_bot(uid)
        if not yes:
            confirm(f"Shall {sanitize(uid)} be no bot any more?")
        app.client.delete_bot(uid)
    click.echo(f"{sanitize(uid)} is no bot any more; the user and its messages are still there.")


bots.add_command(sync)


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
    from cometbot.errors import ConfigurationError

    uid = text.lower()
    if not re.fullmatch(rf"[a-z0-9_-]{{1,{MAX_UID_LENGTH}}}", uid):
        raise ConfigurationError(
            f"the UID of a bot is made of a-z 0-9 - _, at most {MAX_UID_LENGTH}, and {uid!r} is not"
        )
    return uid


def _resolve_url(app: CometChatAccount, uid: str, base: str, full_url: str) -> str:
    """Return the URL that CometChat should call, or "" if none is given."""
    from cometbot.channels.cometchat.provision import callback_url, check_url

    url = full_url or (callback_url(base, uid) if base else "")
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
        raise click.UsageError("--no-login goes with no other option about user name and password.")
    if new_password and password:
        raise click.UsageError("--new-password makes a password; leave --password out.")
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
    print_new_credentials(generated, settings, bot.uid, as_json=as_json)


def _print_bot(bot: RegisteredBot, outcome: str) -> None:
    click.echo(f"{sanitize(bot.uid)} {outcome}.")
    rows = [
        ("URL", bot.masked_url),
        ("groups", bot.group_setting),
        ("enabled", "yes" if bot.enabled else "no"),
        ("user name", bot.username if bot.uses_basic_auth else "none: CometChat calls without"),
    ]
    for name, value in rows:
        click.echo(f"{click.style(f'{name:<10}', bold=True)} {sanitize(value)}")
    if not bot.uses_basic_auth:
        click.echo("cometbot refuses such calls, unless COMETBOT_ALLOW_ANONYMOUS_CALLBACKS=1 is set.")
