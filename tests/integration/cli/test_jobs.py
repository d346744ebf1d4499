"""``cometbot jobs`` over real databases."""

from __future__ import annotations

import pytest

from cometbot import Context
from tests.integration.cli.conftest import Shop, on_both_databases, read_json, run_command


@pytest.fixture
def planned(shop: Shop) -> Shop:
    """The shop with two jobs and a message that are still to come."""

    @shop.bot.job
    def ring(ctx: Context, what: str = "") -> None:
        ctx.send(f"Time for {what or 'nothing'}!", to=ctx.conversation_with(user="maria"))

    @shop.bot.command("remind")
    def remind(ctx: Context) -> None:
        ctx.later("1h", ring, what="tea")
        ctx.send("\x1b[2JYour tea is [red]ready.", at="2h", name="tea")

    shop.bot.cron("0 9 1 1 *", ring, tz="Europe/Berlin", missed="skip")
    shop.delivery.store.sync_jobs([shop.bot])
    shop.send("/remind")
    return shop


def ids() -> dict[str, str]:
    return {job["name"]: job["id"] for job in read_json("jobs", "list")}


def test_list_without_jobs_says_so(shop: Shop) -> None:
    result = run_command("jobs", "list")
    assert (result.exit_code, result.output) == (0, "No jobs.\n")
    assert run_command("jobs", "list", "--bot", "shop").output == "No jobs of the bot shop.\n"
    assert read_json("jobs", "list") == []


@on_both_databases
def test_list_shows_what_comes_next(planned: Shop) -> None:
    by_name = {job["name"]: job for job in read_json("jobs", "list", "--bot", "shop")}
    assert set(by_name) == {"#m1.0.j0", "tea", "ring"}
    assert by_name["#m1.0.j0"]["arguments"] == {"what": "tea"}
    assert by_name["tea"]["text"].endswith("ready.")
    assert by_name["ring"]["schedule"] == "cron Europe/Berlin 0 9 1 1 *"
    assert by_name["tea"]["due_at"] == pytest.approx(by_name["#m1.0.j0"]["due_at"] + 3600, abs=5)
    output = run_command("jobs", "list").output
    assert "\x1b" not in output
    assert 'ring {"what": "tea"}' in output
    assert "to shop_user_maria: " in output
    assert read_json("jobs", "list", "--bot", "news") == []
    assert "There are more. Show them with --limit 10." in run_command("jobs", "list", "--limit", "1").output


def test_show_describes_a_job(planned: Shop) -> None:
    found = ids()
    output = run_command("jobs", "show", found["ring"]).output
    assert f"job           {found['ring']}, ring\n" in output
    assert "schedule      cron Europe/Berlin 0 9 1 1 *\n" in output
    assert "missed        skip\n" in output
    output = run_command("jobs", "show", found["tea"]).output
    assert "\x1b" not in output
    assert "to            shop_user_maria\n" in output
    assert "schedule      once\n" in output
    assert read_json("jobs", "show", found["tea"])["name"] == "tea"


@on_both_databases
def test_run_begins_a_job_at_once(planned: Shop) -> None:
    found = ids()
    for name in found:
        result = run_command("jobs", "run", found[name])
        assert (result.exit_code, result.output) == (0, f"Started the job {found[name]}.\n")
    planned.run_pending()
    assert {text.rpartition(" ")[2] for text in planned.channel.texts()} == {"tea!", "nothing!", "[red]ready."}
    assert list(ids()) == ["ring"]


@on_both_databases
def test_cancel_removes_what_a_handler_has_scheduled(planned: Shop) -> None:
    found = ids()
    result = run_command("jobs", "cancel", found["tea"])
    assert (result.exit_code, result.output) == (0, f"Cancelled the job {found['tea']}.\n")
    result = run_command("jobs", "cancel", found["ring"])
    assert result.exit_code == 2
    assert "is scheduled by the code of shop: remove it there" in result.stderr
    assert "tea" not in ids()


@pytest.mark.parametrize("command", ["show", "run", "cancel"])
@pytest.mark.parametrize("name", ["j99", "m1", "nonsense", "j" + "9" * 30])
def test_job_that_does_not_exist_is_wrong_use_and_says_so(shop: Shop, command: str, name: str) -> None:
    result = run_command("jobs", command, name)
    assert result.exit_code == 2
    assert result.stderr == f"cometbot: there is no job {name!r} (any more). List them with: cometbot jobs list\n"


@on_both_databases
def test_broadcast_is_shown_paused_resumed_and_cancelled(shop: Shop) -> None:
    shop.bot.connect(shop.delivery)
    shop.bot.broadcast(users=["maria", "tom", "ann"], text="\x1b[2JNews", name="opening day", pace="1/hour")
    shop.run_pending()
    assert "broadcast opening day: 1 of 3 sent" in " ".join(run_command("jobs", "list").output.split())
    assert [item["name"] for item in read_json("jobs", "list")] == ["opening day"]
    output = run_command("jobs", "show", "opening day").output
    assert "\x1b" not in output
    for line in ("broadcast     b1, opening day", "status        running", "waiting       2", "sent          1"):
        assert f"{line}\n" in output
    assert read_json("jobs", "show", "b1")["recipients"] == 3
    paused = run_command("jobs", "pause", "opening day")
    assert paused.output == ("Paused the broadcast opening day. Go on with: cometbot jobs resume 'opening day'\n")
    assert run_command("jobs", "resume", "b1").output == "The broadcast b1 goes on.\n"
    assert run_command("jobs", "cancel", "b1").output == "Cancelled the broadcast b1.\n"
    assert read_json("jobs", "show", "b1")["status"] == "cancelled"
    for command in ("pause", "resume"):
        result = run_command("jobs", command, "b1")
        assert result.exit_code == 2
        assert "cancelled" in result.stderr
