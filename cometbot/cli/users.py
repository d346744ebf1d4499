"""``cometbot users``: users of the CometChat app."""

from __future__ import annotations

import json

import click

from cometbot.cli import CommandGroup
from cometbot.cli._sanitize import sanitize


@click.group(cls=CommandGroup)
def users() -> None:
    """Make users of your app on CometChat.

    The app is the one of COMETCHAT_APP_ID, COMETCHAT_REGION and COMETCHAT_API_KEY.
    """


@users.command()
@click.argument("uid", metavar="UID")
@click.option("--name", default="", metavar="NAME", help="What others see; made from the UID if it is left out.")
@click.option("--avatar", default="", metavar="URL", help="A picture.")
@click.option("--role", default="", metavar="ROLE", help="A role, which must exist.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; can be given several times.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def create(uid: str, name: str, avatar: str, role: str, tags: tuple[str, ...], as_json: bool) -> None:
    """Make a user."""
    from cometbot.channels.cometchat.provision import name_from_uid
    from cometbot.cli._account import explain_errors, open_account

    uid = uid.lower()
    given = {"avatar": avatar, "role": role, "tags": list(tags)}
    details = {key: value for key, value in given.items() if value}
    with open_account() as app, explain_errors(uid):
        user = app.client.create_user(uid, name or name_from_uid(uid), details)
    if as_json:
        shown = {key: value for key, value in user.items() if key != "authToken"}
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        click.echo(
            f"There is a user {sanitize(str(user.get('uid', uid)))} now, named {sanitize(str(user.get('name', '')))}."
        )
