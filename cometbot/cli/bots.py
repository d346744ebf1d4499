"""``cometbot bots``: the bots of the app on CometChat, as the dashboard's bot page has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandGroup
from cometbot.cli.sync import group_setting_option, json_option, sync, tell_credentials, url_option
from cometbot.cli.tables import make_table, print_json, print_table, to_cell
from cometbot.cli.text import plain

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.channels.cometchat.provision import RegisteredBot
    from cometbot.cli.account import Account
    from cometbot.settings import Credentials, Settings

_webhook_url = click.option(
    "--webhook-url", metavar="URL", default="", help="The whole URL to call, for a bot that is not served by cometbot."
)
_username = click.option("--username", metavar="NAME", default="", help="The user name that CometChat shows.")
_password = click.option(
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
    from cometbot.cli.account import account, advised

    with account() as app, advised():
        found = list(provision.list_bots(app.client, search=search, ai=ai))
    if as_json:
        print_json([bot.to_json() for bot in found])
    elif found:
        print_table(make_bot_table(found))
    else:
        click.echo("There is no such bot." if search else "The app has no bots; cometbot bots create UID makes one.")


@bots.command()
@click.argument("uid", metavar="UID")
@url_option
@_webhook_url
@click.option("--name", metavar="NAME", default="", help="The name of its user, if that must be made.")
@click.option("--avatar", metavar="URL", default="", help="The picture of its user, if that must be made.")
@group_setting_option
@_username
@_password
@click.option("--no-login", is_flag=True, help="Let CometChat call without user name and password.")
@click.option("--disabled", is_flag=True, help="Register it, but let CometChat not call it yet.")
@json_option
def create(uid: str, name: str, avatar: str, disabled: bool, as_json: bool, **options: Any) -> None:
    """Make a user a bot; the user too, if there is none.

    CometChat will call URL/cometchat/UID, with the user name and password of COMETBOT_CALLBACK_USERNAME and
    COMETBOT_CALLBACK_PASSWORD. Where these are not set new ones are made, and shown this once.
    """
    from cometbot.channels.cometchat import provision
    from cometbot.cli.account import account, advised

    uid = _checked_uid(uid)
    with account() as app, advised(uid):
        url = _chosen_url(app, uid, options["url"] or app.settings.public_url, options["webhook_url"])
        if not url:
            raise click.UsageError("Say where your server is reached, for example --url https://bots.example.com")
        credentials, made = _chosen_credentials(app.settings, uid, **_login(options))
        plan = provision.BotPlan(
            uid=uid,
            url=url,
            name=name,
            avatar=avatar,
            group_setting=options["group_setting"] or provision.MENTIONED,
            credentials=credentials,
            enabled=not disabled,
        )
        bot, is_user_new = provision.create_bot(app.client, plan)
    what = f"is a bot now{', and its user was made too' if is_user_new else ''}"
    new = credentials if made else None
    _report(bot, what, new, app.settings, as_json=as_json, also={"userMade": is_user_new})


@bots.command()
@click.argument("uid", metavar="UID")
@url_option
@_webhook_url
@click.option("--name", metavar="NAME", default="", help="A new name for its user.")
@click.option("--avatar", metavar="URL", default="", help="A new picture for its user.")
@group_setting_option
@click.option("--enable/--disable", "enabled", default=None, help="Whether CometChat calls it.")
@_username
@_password
@click.option("--new-password", is_flag=True, help="Make a new password, and show it this once.")
@click.option("--no-login", is_flag=True, help="Let CometChat call without user name and password.")
@json_option
def update(uid: str, name: str, avatar: str, enabled: bool | None, as_json: bool, **options: Any) -> None:
    """Change what CometChat knows of a bot; what is not named stays as it is."""
    from cometbot.channels.cometchat import provision
    from cometbot.cli.account import account, advised

    uid = uid.lower()
    with account() as app, advised(uid):
        user_changes = {key: value for key, value in (("name", name), ("avatar", avatar)) if value}
        url = _chosen_url(app, uid, options["url"], options["webhook_url"])
        wanted = {"webhookURL": url or None, "groupChatSetting": options["group_setting"], "enabled": enabled}
        changes = {key: value for key, value in wanted.items() if value is not None}
        login = _login(options)
        credentials: Credentials | None = None
        made = False
        if any(login.values()) or options["new_password"]:
            usual = "" if login["username"] or login["no_login"] else str(app.client.get_bot(uid).get("username") or "")
            credentials, made = _chosen_credentials(
                app.settings, uid, **login, anew=options["new_password"], usual=usual
            )
            changes |= provision.login_changes(credentials)
        if not changes and not user_changes:
            raise click.UsageError("Say what to change; cometbot bots update --help shows what can be.")
        bot = provision.update_bot(app.client, uid, changes)
        if user_changes:
            app.client.update_user(uid, user_changes)
    _report(bot, "is changed", credentials if made else None, app.settings, as_json=as_json)


@bots.command()
@click.argument("uid", metavar="UID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(uid: str, yes: bool) -> None:
    """Make a bot an ordinary user again; the user and its messages stay.

    "cometbot bots update UID --disable" lets CometChat only stop calling it.
    """
    from cometbot.cli.account import account, advised, ask

    uid = uid.lower()
    with account() as app, advised(uid):
        app.client.get_bot(uid)
        if not yes:
            ask(f"Shall {plain(uid)} be no bot any more?")
        app.client.delete_bot(uid)
    click.echo(f"{plain(uid)} is no bot any more; the user and its messages are still there.")


bots.add_command(sync)


def make_bot_table(found: Sequence[RegisteredBot]) -> Table:
    """A table for the terminal, a row a bot."""
    table = make_table("UID", "Enabled", "Groups", "User name", fold="URL")
    for bot in found:
        login = bot.username if bot.uses_login else "none"
        row = (bot.uid, "yes" if bot.enabled else "no", bot.group_setting, login, bot.shown_url)
        table.add_row(*map(to_cell, row))
    return table


def _checked_uid(text: str) -> str:
    """``text`` as CometChat writes it. Raises :class:`ConfigurationError` for what can be no bot's UID."""
    from cometbot.channels.cometchat.provision import UID_LENGTH
    from cometbot.errors import ConfigurationError

    uid = text.lower()
    if not re.fullmatch(rf"[a-z0-9_-]{{1,{UID_LENGTH}}}", uid):
        raise ConfigurationError(f"the UID of a bot is made of a-z 0-9 - _, at most {UID_LENGTH}, and {uid!r} is not")
    return uid


def _chosen_url(app: Account, uid: str, base: str, whole: str) -> str:
    """The URL that CometChat is to call, empty if nothing says it."""
    from cometbot.channels.cometchat.provision import callback_url, check_url

    url = whole or (callback_url(base, uid) if base else "")
    return check_url(url, app.client.api_url) if url else ""


def _login(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("username", "password", "no_login")}


def _chosen_credentials(
    settings: Settings, uid: str, *, username: str, password: str, no_login: bool, anew: bool = False, usual: str = ""
) -> tuple[Credentials | None, bool]:
    """What CometChat is to show when it calls, and whether it was made here; ``usual`` is its user name so far."""
    from cometbot.channels.cometchat.provision import check_credentials, make_credentials
    from cometbot.settings import Credentials, Secret

    if no_login and (username or password or anew):
        raise click.UsageError("--no-login goes with no other option about user name and password.")
    if anew and password:
        raise click.UsageError("--new-password makes a password; leave --password out.")
    if no_login:
        return None, False
    known = settings.callback_credentials(uid)
    made = make_credentials(username or usual or (known.username if known else ""))
    if password:
        return check_credentials(Credentials(made.username, Secret(password))), False
    if known and not anew and username in ("", known.username):
        return check_credentials(known), False
    return check_credentials(made), True


def _report(
    bot: RegisteredBot,
    what: str,
    made: Credentials | None,
    settings: Settings,
    *,
    as_json: bool,
    also: Mapping[str, Any] | None = None,
) -> None:
    """Show a bot as CometChat has it now, and credentials that were made for it."""
    if as_json:
        print_json({**bot.to_json(), **(also or {})})
    else:
        _describe(bot, what)
    tell_credentials(made, settings, bot.uid, as_json=as_json)


def _describe(bot: RegisteredBot, what: str) -> None:
    click.echo(f"{plain(bot.uid)} {what}.")
    rows = [
        ("URL", bot.shown_url),
        ("groups", bot.group_setting),
        ("enabled", "yes" if bot.enabled else "no"),
        ("user name", bot.username if bot.uses_login else "none: CometChat calls without"),
    ]
    for name, value in rows:
        click.echo(f"{click.style(f'{name:<10}', bold=True)} {plain(value)}")
    if not bot.uses_login:
        click.echo("cometbot refuses such calls, unless COMETBOT_ALLOW_ANONYMOUS_CALLBACKS=1 is set.")
