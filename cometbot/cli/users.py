"""``cometbot users``: users of the CometChat app."""

from __future__ import annotations

import click

from cometbot.cli import CommandGroup
from cometbot.cli._account import explain_errors, open_account
from cometbot.cli._output import print_json, sanitize
from cometbot.cli._params import app_option


@click.group(cls=CommandGroup)
def users() -> None:
    """Create users of your CometChat app.

    The settings of the app are COMETCHAT_APP_ID, COMETCHAT_REGION and COMETCHAT_API_KEY.
    """


@users.command()
@click.argument("uid", metavar="UID")
@click.option("--name", default="", metavar="NAME", help="Name that others see. Default: derived from the UID.")
@click.option("--avatar", default="", metavar="URL", help="URL of a picture.")
@click.option("--role", default="", metavar="ROLE", help="Role, which must exist.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Tag; may be given several times.")
@app_option
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def create(uid: str, name: str, avatar: str, role: str, tags: tuple[str, ...], app_name: str, as_json: bool) -> None:
    """Create a user."""
    from cometbot.channels.cometchat.provision import name_from_uid

    uid = uid.lower()
    given = {"avatar": avatar, "role": role, "tags": list(tags)}
    details = {key: value for key, value in given.items() if value}
    with open_account(app_name) as app, explain_errors(uid):
        user = app.client.create_user(uid, name or name_from_uid(uid), details)
    if as_json:
        shown = {key: value for key, value in user.items() if key != "authToken"}
        print_json(shown)
    else:
        click.echo(
            f"Created the user {sanitize(str(user.get('uid', uid)))}, named {sanitize(str(user.get('name', '')))}."
        )
