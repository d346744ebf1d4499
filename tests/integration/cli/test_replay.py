"""``cometbot replay``, over what a bot stored before."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from cometbot import Bot, ContactEvent, Context
from cometbot.channels.cometchat import CometChatChannel, CometChatClient
from cometbot.channels.simplex.service import SimplexService
from cometbot.cli import main
from cometbot.delivery import Delivery
from cometbot.delivery.delivery import Backlog
from cometbot.jobs import JobChange, PlannedJob, make_content, make_conversation
from cometbot.settings import Settings
from cometbot.simulator import Simulator
from cometbot.testing import FakeSimplexCLI
from cometbot.web.app import create_app

SHOP = """
from cometbot import Bot

bot = Bot("helpdesk")


@bot.message("hi")
def greet(ctx):
    ctx.state["count"] = ctx.state.get("count", 0) + 1
    return "Hello!\\x1b[31m"


@bot.message("tea")
def tea(ctx):
    raise ValueError("no tea")


@bot.job
def ring(ctx, what):
    ctx.send(f"Time for {what}!", to=ctx.conversation_with(user="maria"))
    ctx.later("1h", ring, what=what)


@bot.message("group")
def group(ctx):
    ctx.client.create_group("ops", "Ops")
    return str(ctx.client.get_user("maria")["name"])
"""

CALLBACK = json.loads((Path(__file__).parents[2] / "data" / "sample_callback.json").read_text())

Run = Callable[..., Result]


@pytest.fixture
def simulator(cometchat_simulator: Simulator) -> Simulator:
    cometchat_simulator.seed_demo()
    return cometchat_simulator


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> Run:
    """Runs a command in a folder with a bot, whose database is there already and holds nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(SHOP)
    settings = {
        "COMETBOT_BOT": f"{module}:bot",
        "COMETCHAT_APP_ID": simulator.app_id,
        "COMETCHAT_API_URL": simulator.api_url,
        "COMETCHAT_API_KEY": simulator.api_key,
        "COMETBOT_CALLBACK_USERNAME": "cc",
        "COMETBOT_CALLBACK_PASSWORD": "s3cret-word",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    _delivery().close()
    return lambda *words: CliRunner().invoke(main, words)


def _delivery() -> Delivery:
    delivery = Delivery([], [], "sqlite:///cometbot.db")
    delivery.database.open()
    return delivery


def store(simulator: Simulator, text: str, depth: int = 0) -> None:
    """Have the callback store what Maria wrote, its data nested ``depth`` levels deep, with nobody to handle it."""
    settings = Settings.from_environment()
    app = create_app(Bot("helpdesk"), settings, handles=False)
    body: dict[str, Any] = json.loads(json.dumps(CALLBACK))
    body["appId"], body["bot"] = simulator.app_id, "helpdesk"
    body["data"] |= {"sender": "maria", "receiver": "helpdesk", "conversationId": "helpdesk_user_maria"}
    body["data"]["data"] = {"text": text, "deep": "DEEP"}
    posted = orjson.dumps(body).replace(b'"DEEP"', b"[" * depth + b"]" * depth or b"null")
    client = app.test_client()
    answer = client.post(
        "/cometchat/helpdesk", data=posted, content_type="application/json", auth=("cc", "s3cret-word")
    )
    assert answer.status_code == 200, answer.text
    assert 'cometbot_waiting{bot="helpdesk"} 1.0' in client.get("/metrics").text
    app.extensions["cometbot"].stop()


@contextmanager
def running(simulator: Simulator, bot: Bot) -> Iterator[Delivery]:
    """Handle what is stored."""
    client = CometChatClient(simulator.api_url, simulator.api_key)
    channel = CometChatChannel(simulator.app_id, client, bots={"helpdesk": bot})
    with closing(Delivery([bot], [channel], "sqlite:///cometbot.db")) as delivery:
        delivery.start()
        yield delivery


def end(state: str) -> None:
    delivery = _delivery()
    with delivery.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE mailbox SET state = '{state}'")
    delivery.close()


def test_replay_shows_what_would_be_said_and_stored(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    result = run("replay", "m1")
    assert result.exit_code == 0, result.output
    for word in ("text          hi", "Hello!", "count of the conversation: nothing → 1", "greet", "--send"):
        assert word in result.output


def test_replay_lets_no_text_move_the_terminal(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    assert "\x1b" not in run("replay", "m1").output


def test_replay_sends_nothing(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    run("replay", "m1")
    assert simulator.messages() == []


def test_replay_of_failing_handler_exits_with_1(run: Run, simulator: Simulator) -> None:
    store(simulator, "tea")
    result = run("replay", "m1")
    assert result.exit_code == 1
    assert "ValueError: no tea" in result.output
    assert 'raise ValueError("no tea")' in result.output
    assert "dispatch.py" not in result.output


def test_replay_withholds_writes_of_the_client(run: Run, simulator: Simulator) -> None:
    store(simulator, "group")
    result = run("replay", "m1")
    assert "would request POST /groups" in result.output
    assert "Maria Keller" in result.output
    assert "ops" not in simulator.world.directory.groups


def test_job_is_replayed_with_its_arguments(run: Run, simulator: Simulator) -> None:
    handler = f"{Settings.from_environment().default_bot_spec.partition(':')[0]}.ring"
    content = make_content({"what": "tea"})
    planned = PlannedJob("x", handler, make_conversation("helpdesk", "x"), 0.0, True, content)
    with closing(_delivery()) as delivery:
        delivery.schedule(Bot("helpdesk"), JobChange("helpdesk", "bot", "x", planned))
        delivery.store.fire_jobs()
    result = run("replay", "m1")
    assert result.exit_code == 0, result.output
    for word in (
        f"handler       {handler}",
        "would send    → helpdesk_user_maria",
        "Time for tea!",
        f"ctx.later({handler})",
    ):
        assert word in result.output
    result = run("replay", "m1", "--as-test")
    assert (result.exit_code, "m1 is not done yet" in result.stderr) == (2, True)
    end("done")
    result = run("replay", "m1", "--as-test")
    assert result.exit_code == 2
    assert result.stderr == "cometbot: m1 is a job, which no user wrote. Test it with BotClient.advance\n"


def test_replay_as_json_has_all_of_it(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    told = json.loads(run("replay", "m1", "--json").output)
    assert told["message"]["id"] == "m1"
    assert told["said"][0]["text"].startswith("Hello!")
    assert told["said"][0]["requests"][0]["op"] == "send"
    assert [(item["name"], item["before"], item["after"]) for item in told["changes"]] == [("count", None, 1)]
    assert told["error"] is None


def test_replay_of_what_nobody_wants_says_so(run: Run, simulator: Simulator) -> None:
    store(simulator, "something else")
    output = run("replay", "m1").output
    assert "none matches" in output
    assert "would send    nothing" in output


def test_send_lets_the_next_bot_that_starts_answer_again(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    end("done")
    result = run("replay", "m1", "--send")
    assert result.exit_code == 0
    assert "No bot is running" in result.output
    delivery = _delivery()
    assert not delivery.is_idle
    delivery.close()


def test_send_is_done_by_the_running_bot(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    bot = Bot("helpdesk")
    bot.message("hi")(lambda ctx: "Hello again!")
    with running(simulator, bot) as delivery:
        simulator.wait_for(lambda found: found.messages())
        simulator.wait_for(lambda found: delivery.is_idle)
        assert "The running bot handles it again" in run("replay", "m1", "--send").output
        simulator.wait_for(lambda found: len(found.messages()) == 2)
    assert [message.text for message in simulator.messages()] == ["Hello again!"] * 2


@pytest.mark.parametrize("depth", [200, 500, 1015])
def test_deep_message_survives_its_dead_letter(run: Run, simulator: Simulator, depth: int) -> None:
    store(simulator, "hi", depth)
    broken, mended = Bot("helpdesk"), Bot("helpdesk")

    @broken.message("hi")
    def fail(ctx: Context) -> None:
        raise ValueError(f"{ctx.event.raw} of {ctx.event}")

    @mended.message("hi")
    def keep(ctx: Context) -> str:
        ctx.state["kept"] = copy.deepcopy(ctx.event.raw)
        return "Kept."

    with running(simulator, broken) as delivery:
        simulator.wait_for(lambda found: delivery.dead_letters.list())
    for words in ("deadletters list", "deadletters show m1", "replay m1"):
        for options in ([], ["--json"]):
            result = run(*words.split(), *options)
            assert (result.exit_code, "RecursionError" in result.output) == (0, False), result.output
    assert run("deadletters", "retry", "m1").exit_code == 0
    with running(simulator, mended):
        simulator.wait_for(lambda found: "Kept." in [message.text for message in found.messages()])


def test_send_as_json_says_whether_a_bot_is_running(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    end("done")
    told = json.loads(run("replay", "m1", "--send", "--json").output)
    assert (told["state"], told["generation"], told["is_running"]) == ("waiting", 1, False)


def test_replay_send_of_a_pending_message_is_refused(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    result = run("replay", "m1", "--send")
    assert result.exit_code == 2
    assert "not done yet" in result.output


@pytest.mark.parametrize("words", [["m9"], ["m9", "--send"], ["r1"], ["nonsense"]])
def test_replay_of_unknown_id_exits_with_2(run: Run, words: list[str]) -> None:
    result = run("replay", *words)
    assert result.exit_code == 2
    assert result.output.startswith("cometbot: ")
    assert result.output.count("\n") == 1


def test_without_a_database_none_is_made(run: Run, tmp_path: Path) -> None:
    for file in tmp_path.glob("cometbot.db*"):
        file.unlink()
    result = run("replay", "m1")
    assert result.exit_code == 2
    assert "database not found" in result.output
    assert not (tmp_path / "cometbot.db").exists()


@pytest.fixture
def said_on_simplex(run: Run) -> None:
    """Maria came by SimpleX (m1) and wrote "hi" (m2); nobody has handled it."""
    bot = Bot("helpdesk")
    bot.event(ContactEvent)(lambda ctx: "Welcome!")
    with FakeSimplexCLI(display_name="helpdesk") as cli:
        service = SimplexService(Settings(simplex_url=cli.url), bot)
        with closing(Delivery([bot], [service.channel], "sqlite:///cometbot.db")) as delivery:
            delivery.database.open()
            service.open(delivery)
            assert service.connection.wait_ready(60)
            cli.connect("maria").say("hi")
            ends_at = time.monotonic() + 60
            while delivery.backlog().get("helpdesk", Backlog(0, 0.0, 0)).waiting < 2:
                assert time.monotonic() < ends_at
                time.sleep(0.02)


@pytest.mark.parametrize("channels", ["", "cometchat", "simplex"])
def test_replay_needs_only_the_messages_channel(
    run: Run, said_on_simplex: None, monkeypatch: pytest.MonkeyPatch, channels: str
) -> None:
    for name in ("COMETCHAT_APP_ID", "COMETCHAT_API_URL", "COMETCHAT_API_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("COMETBOT_CHANNELS", channels)

    result = run("replay", "m2")
    assert result.exit_code == 0, result.output
    assert "Hello!" in result.output


def test_replay_of_another_event_names_its_sender(run: Run, said_on_simplex: None) -> None:
    first = run("replay", "m1").output.splitlines()[0]
    assert first.startswith("m1            contactConnected:")
    assert " from 4 in contact_4, received" in first


def test_what_the_messages_channel_needs_is_said_of_that_message(
    run: Run, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(simulator, "hi")
    monkeypatch.delenv("COMETCHAT_APP_ID")
    monkeypatch.setenv("COMETBOT_CHANNELS", "simplex")

    result = run("replay", "m1")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "cannot replay m1 of the channel cometchat: set COMETCHAT_APP_ID" in result.stderr


def test_replay_has_the_other_channels_of_the_process_too(
    run: Run, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = f"both_{tmp_path.name.replace('-', '_')}"
    said = 'bot.send(user="4", text="Look here", channel="simplex")'
    (tmp_path / f"{module}.py").write_text(
        f'from cometbot import Bot\n\nbot = Bot("helpdesk")\n\n\n@bot.message()\ndef tell(ctx):\n    {said}\n'
    )
    monkeypatch.setenv("COMETBOT_CHANNELS", "cometchat,simplex")
    store(simulator, "hi")

    assert "Look here" in run("replay", "m1", f"{module}:bot").output


def test_another_bot_than_the_messages_is_refused(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    store(simulator, "hi")
    other = f"other_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{other}.py").write_text('from cometbot import Bot\n\nbot = Bot("sales")\n')
    result = run("replay", "m1", f"{other}:bot")
    assert result.exit_code == 2
    assert "'helpdesk'" in result.output


@pytest.fixture
def answered(run: Run, simulator: Simulator) -> None:
    """The bot has answered "hi" (m1)."""
    store(simulator, "hi")
    bot = Bot("helpdesk")
    bot.message("hi")(lambda ctx: "Hello!\x1b[31m")
    with running(simulator, bot) as delivery:
        simulator.wait_for(lambda found: found.messages())
        simulator.wait_for(lambda found: delivery.is_idle)


def test_as_test_writes_a_test_that_passes(run: Run, answered: None, tmp_path: Path) -> None:
    result = run("replay", "m1", "--as-test")
    assert result.exit_code == 0, result.output
    assert r'assert replies.texts == ["Hello!\x1b[31m"]' in result.output
    written = run("replay", "m1", "--as-test", "--output", "test_m1.py")
    assert written.output == "Wrote test_m1.py. Run it with: pytest test_m1.py\n"
    assert (tmp_path / "test_m1.py").read_text() == result.output
    found: dict[str, Any] = {}
    exec(result.output, found)
    found["test_conversation_of_m1"]()


def test_as_test_takes_the_id_of_a_conversation(run: Run, answered: None) -> None:
    by_conversation = run("replay", "helpdesk_user_maria", "--as-test")
    assert by_conversation.output == run("replay", "m1", "--as-test").output


def test_as_test_replaces_a_file_only_by_force(run: Run, answered: None, tmp_path: Path) -> None:
    file = tmp_path / "test_m1.py"
    file.write_text("mine")
    refused = run("replay", "m1", "--as-test", "--output", "test_m1.py")
    assert (refused.exit_code, file.read_text()) == (2, "mine")
    assert "test_m1.py exists; name another file, or replace it with --force" in refused.stderr
    assert run("replay", "m1", "--as-test", "--output", "test_m1.py", "--force").exit_code == 0
    assert "test_conversation_of_m1" in file.read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("m9 --as-test", "there is no message m9"),
        ("nobody --as-test", "no conversation 'nobody'"),
        ("m1 --as-test --send", "--as-test cannot be combined with --send"),
        ("m1 --as-test --json", "--as-test cannot be combined with --json"),
        ("m1 --last 3", "--last is an option of --as-test"),
        ("m1 --keep-users", "--keep-users is an option of --as-test"),
        ("m1 --output x.py", "--output is an option of --as-test"),
        ("m1 --as-test --force", "--force is an option of --output"),
        ("m1 --as-test --output missing/x.py", "cannot write missing/x.py"),
        ("m1 --as-test --last 0", "--last: expected a whole number from 1 up"),
    ],
)
def test_as_test_explains_what_it_cannot_do(run: Run, answered: None, words: str, error: str) -> None:
    result = run("replay", *words.split())
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert error in result.stderr


def test_as_test_of_a_pending_message_is_refused(run: Run, simulator: Simulator) -> None:
    store(simulator, "hi")
    result = run("replay", "m1", "--as-test")
    assert result.exit_code == 2
    assert "m1 is not done yet. Wait until it is handled." in result.stderr
