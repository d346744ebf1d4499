"""``cometbot files`` over real databases."""

from __future__ import annotations

from cometbot import Context, Media
from tests.integration.cli.conftest import Shop, on_both_databases, read_json, run_command

pytestmark = on_both_databases


def test_files_are_listed_and_revoked(shop: Shop) -> None:
    @shop.bot.command("report")
    def report(ctx: Context, name: str) -> Media:
        return Media(data=b"day,cups", name=name)

    assert run_command("files", "list").output == "No files.\n"
    assert run_command("files", "list", "--bot", "shop").output == "No files of the bot shop.\n"
    shop.send("/report one.csv")
    shop.send("/report two.csv", user="eve")

    found = {item["name"]: item for item in read_json("files", "list")}
    one = found["one.csv"]
    assert (one["mime_type"], one["size"], one["conversation"]) == ("text/csv", 8, "fake/test/shop/shop_user_maria")
    assert len(read_json("files", "list", "--bot", "shop")) == 2
    assert read_json("files", "list", "--bot", "other") == []
    assert "one.csv" in run_command("files", "list").output

    assert run_command("files", "revoke", one["url"]).output == "Revoked the file.\n"
    assert shop.delivery.store.files.find(one["url"]) is None
    assert run_command("files", "revoke", found["two.csv"]["id"]).exit_code == 0
    assert read_json("files", "list") == []
    again = run_command("files", "revoke", one["url"])
    assert (again.exit_code, "no file at" in again.output) == (2, True)
