"""``cometbot simplex`` in a process of its own, against a stand-in for the SimpleX CLI in another one."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from pytest_httpserver import HTTPServer

from cometbot.temporary_folders import TemporaryFolder
from cometbot.testing.simplex import FakeSimplexControl
from cometbot.testing.simplex.people import FakeGroup, People, Person
from cometbot.testing.simplex.web import make_file

from .conftest import PATIENCE, ROOT, wait_for

pytestmark = pytest.mark.process

BOT = "tests/acceptance/bots/simplex.py:bot"
COMETBOT = (str(Path(sys.executable).parent / "cometbot"),)
CLI = (sys.executable, "-m", "cometbot.testing.simplex")

T = TypeVar("T")


class Running:
    """A process with its output in a file. It can be killed, and started again."""

    def __init__(self, command: tuple[str, ...], folder: Path, name: str, **environ: str) -> None:
        self.command = command
        self._file = folder / f"{name}.log"
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("COMET", "SIMPLEX"))}
        self._environ = kept | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"} | environ
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        return self._file.read_text() if self._file.exists() else ""

    def start(self, until: str) -> re.Match[str]:
        """Begin, and wait for the first new line that fits ``until``."""
        before = len(self.output)
        with self._file.open("ab") as file:
            self._process = subprocess.Popen(
                self.command, cwd=ROOT, env=self._environ, stdout=file, stderr=file, start_new_session=True
            )
        return self.wait_until(lambda: re.search(until, self.output[before:]))

    def wait_until(self, condition: Callable[[], T | None], seconds: float = PATIENCE) -> T:
        found = wait_for(condition, seconds, or_show=lambda: self.output)
        assert found is not None
        return found

    def kill(self) -> None:
        """End it at once, as the end of the machine would."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._process = None

    def terminate(self) -> int:
        """The exit status after SIGTERM."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(PATIENCE)
        self._process = None
        return status

    def close(self) -> None:
        if self._process is not None:
            self.kill()


class Stage:
    """The stand-in, and the processes of one bot. A stand-in that keeps its state can be ended and started again."""

    def __init__(self, folder: Path, *, keeps_state: bool = True) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        self.marks.mkdir()
        self._started: list[Running] = []
        state = ("--state", str(folder / "cli.json")) if keeps_state else ()
        self.cli = self._process((*CLI, "--port", "0", *state), "cli")
        self.url = self.cli.start(r"ws://127\.0\.0\.1:\d+")[0]
        self.cli.command = (*CLI, "--port", self.url.rpartition(":")[2], *state)
        self.people = FakeSimplexControl(self.url, timeout=PATIENCE)
        self.bot = self.process("simplex", BOT)

    def process(self, *arguments: str, name: str = "bot", **environ: str) -> Running:
        """One more process of the bot, not started yet."""
        settings = {
            "SIMPLEX_URL": self.url,
            "COMETBOT_DATABASE_URL": f"sqlite:///{self.folder}/bot.db",
            "COMETBOT_DATA": str(self.folder / "data"),
            "COMETBOT_TEST_MARKS": str(self.marks),
            "COMETBOT_ALLOW_PRIVATE_WEBHOOKS": "1",
        }
        return self._process((*COMETBOT, *arguments), name, **{**settings, **environ})

    def _process(self, command: tuple[str, ...], name: str, **environ: str) -> Running:
        running = Running(command, self.folder, name, **environ)
        self._started.append(running)
        return running

    def wait_texts(self, who: Person | FakeGroup, expected: list[str], seconds: float = PATIENCE) -> None:
        """Wait until these texts are the newest that the bot said there."""
        self.bot.wait_until(lambda: who.texts()[-len(expected) :] == expected or None, seconds)

    def open_gate(self, name: str) -> None:
        """Let handlers go on that wait at this gate."""
        (self.marks / f"{name}.gate").touch()

    def close(self) -> None:
        self.people.close()
        for running in reversed(self._started):
            running.close()


@pytest.fixture(scope="module")
def make_stage() -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []
    with TemporaryFolder("test") as folder:

        def make(**options: bool) -> Stage:
            place = folder / str(len(stages))
            place.mkdir()
            stages.append(Stage(place, **options))
            return stages[-1]

        yield make
        for stage in stages:
            stage.close()


@pytest.fixture(scope="module")
def stage(make_stage: Callable[..., Stage]) -> Stage:
    """The stage that the tests of this module share, as far as they leave it whole."""
    stage = make_stage()
    stage.bot.start("Address: ")
    return stage


@pytest.fixture
def people(stage: Stage) -> People:
    return stage.people


_names = (f"person{number}" for number in range(1000))


@pytest.fixture
def alice(stage: Stage, people: People) -> Person:
    """Somebody who connected and was greeted."""
    person = people.connect(next(_names))
    stage.wait_texts(person, [f"connected: {person.name}"])
    return person


def test_it_says_as_whom_it_is_there_and_where_it_is_found(stage: Stage) -> None:
    assert re.search(r"Connected to SimpleX as Echo bot\.\nAddress: https://\S+", stage.bot.output)


def test_who_follows_the_address_is_let_in_and_answered(stage: Stage, people: People) -> None:
    erin = people.request("erin")
    assert isinstance(erin, Person)
    stage.wait_texts(erin, ["connected: erin"])
    erin.say("Good morning")

    stage.wait_texts(erin, ["re: Good morning"])


@pytest.mark.parametrize("fault", ["", "drop", "drop_after", "drop_mid"])
def test_in_a_group_it_answers_to_its_name_and_its_commands(
    stage: Stage, people: People, alice: Person, fault: str
) -> None:
    group = people.add_group(f"Team {alice.name}", [alice])
    stage.wait_texts(group, ["joined: trial"])
    disturb(people, fault, "/_send")
    group.say(alice, "what a day")
    group.say(alice, "status?", mention=True)
    stage.wait_texts(group, ["re: status?"])
    group.say(alice, "/other bots have commands too")
    group.say(alice, "/quote")
    stage.wait_texts(group, ["that"])

    assert group.texts() == ["joined: trial", "re: status?", "that"]


FAULTS = ["", "drop", "drop_after", "drop_mid"]


def disturb(people: People, fault: str, on: str) -> None:
    """Let the connection break at the next command that begins with ``on``, if it is to."""
    if fault:
        people.misbehave(fault, on=on)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_message_is_answered(stage: Stage, people: People, alice: Person, fault: str) -> None:
    disturb(people, fault, "/_send")
    alice.say("hello")
    stage.wait_texts(alice, ["re: hello"])
    alice.say("again")
    stage.wait_texts(alice, ["re: again"])

    assert alice.texts() == [f"connected: {alice.name}", "re: hello", "re: again"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_comes_in(stage: Stage, people: People, alice: Person, fault: str) -> None:
    disturb(people, fault, "/freceive")
    alice.say("look", file=("notes.txt", b"Milk and bread"))

    stage.wait_texts(alice, ["notes.txt: Milk and bread"])
    assert len(alice.texts()) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_goes_out(stage: Stage, people: People, alice: Person, fault: str) -> None:
    disturb(people, fault, "/_send")
    alice.say("/file")
    stage.wait_texts(alice, ["The report"])

    line = alice.said()[-1]
    assert (line.content["type"], line.file_path) == ("file", str(stage.marks / "report.txt"))
    assert alice.texts() == [f"connected: {alice.name}", "The report"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_said_is_changed(stage: Stage, people: People, alice: Person, fault: str) -> None:
    disturb(people, fault, "/_update item")
    alice.say("/change")
    stage.wait_texts(alice, ["done"])

    assert alice.texts() == [f"connected: {alice.name}", "done"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reaction_is_put_on_a_message(stage: Stage, people: People, alice: Person, fault: str) -> None:
    disturb(people, fault, "/_reaction")
    item = alice.say("/like")

    stage.bot.wait_until(
        lambda: next((line for line in people.lines(alice.chat) if line.item_id == item), None).reactions or None  # type: ignore[union-attr]
    )
    alice.say("thanks")
    stage.wait_texts(alice, ["re: thanks"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_message_is_written_before_ones_eyes(stage: Stage, people: People, alice: Person, fault: str) -> None:
    alice.say(f"/stream {alice.name}")
    stage.bot.wait_until(lambda: alice.said()[-1].is_live or None)
    disturb(people, fault, "/_update item")
    stage.open_gate(alice.name)
    stage.wait_texts(alice, ["".join(f"word{number} " for number in range(8))])

    stage.bot.wait_until(lambda: not alice.said()[-1].is_live or None)
    assert len(alice.texts()) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reply_quotes_what_it_answers(stage: Stage, people: People, alice: Person, fault: str) -> None:
    disturb(people, fault, "/_send")
    item = alice.say("/quote")
    stage.wait_texts(alice, ["that"])

    assert alice.said()[-1].quote_id == item
    assert alice.texts() == [f"connected: {alice.name}", "that"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_picture_from_the_web_goes_out_as_a_picture(
    stage: Stage, people: People, alice: Person, httpserver: HTTPServer, fault: str
) -> None:
    httpserver.expect_request("/cat.jpg").respond_with_data(make_file("cat.jpg"))
    disturb(people, fault, "/_send")
    alice.say(f"/show {httpserver.url_for('/cat.jpg')}")
    stage.wait_texts(alice, ["Look"])
    line = alice.said()[-1]

    assert (line.content["type"], Path(line.file_path).name) == ("image", "cat.jpg")
    assert line.content["image"].startswith("data:image/jpg;base64,/9j/")
    stage.bot.wait_until(lambda: people.file_of(line) == make_file("cat.jpg") or None)
    stage.bot.wait_until(lambda: not Path(line.file_path).exists() or None)
    assert len(alice.texts()) == 2


def test_sounds_films_and_papers_go_out_and_what_is_not_there_is_told_by_its_address(
    stage: Stage, alice: Person, httpserver: HTTPServer
) -> None:
    kinds = {"song.mp3": "voice", "film.mp4": "video", "paper.pdf": "file"}
    for name, kind in kinds.items():
        httpserver.expect_request(f"/{name}").respond_with_data(make_file(name))
        alice.say(f"/show {httpserver.url_for(f'/{name}')}")
        stage.bot.wait_until(lambda kind=kind: alice.said()[-1].content["type"] == kind or None)  # type: ignore[misc]
    httpserver.expect_request("/gone.jpg").respond_with_data("", 404)
    gone = httpserver.url_for("/gone.jpg")
    alice.say(f"/show {gone}")

    stage.wait_texts(alice, ["Look", "Look", "Look", f"Look\n\n{gone}"])


def test_a_card_that_is_a_link_has_its_picture(stage: Stage, alice: Person, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/tea.png").respond_with_data(make_file("tea.png"))
    alice.say(f"/link {httpserver.url_for('/tea.png')}")
    stage.wait_texts(alice, ["Tea\n\nGreen\n\nRead on: https://example.com/tea"])
    preview = alice.said()[-1].content["preview"]

    assert (preview["uri"], preview["title"]) == ("https://example.com/tea", "Tea")
    assert preview["image"].startswith("data:image/jpg;base64,/9j/")


def test_what_a_broken_connection_was_told_is_answered_before_what_came_later(
    stage: Stage, people: People, alice: Person
) -> None:
    people.drop()
    wait_for(lambda: people.clients > 0)
    for number in range(0, 6, 2):
        alice.say(f"{number}", silent=True)
        alice.say(f"{number + 1}")
    stage.wait_texts(alice, ["re: 5"])

    assert alice.texts()[1:] == [f"re: {number}" for number in range(6)]


@pytest.mark.parametrize("breaks", [False, True])
def test_what_users_change_and_react_to_is_heard(stage: Stage, people: People, alice: Person, breaks: bool) -> None:
    item = alice.say("helo")
    stage.wait_texts(alice, ["re: helo"])
    alice.edit(item, "hello")
    stage.wait_texts(alice, ["edited: hello"])
    if breaks:
        people.drop()
        wait_for(lambda: people.clients > 0)
    alice.react(alice.said()[-1].item_id, "🎉")

    stage.wait_texts(alice, ["reaction: 🎉"])


def test_a_message_that_is_being_written_is_answered_when_it_is_whole(stage: Stage, alice: Person) -> None:
    item = alice.say("How", live=True)
    alice.edit(item, "How are", live=True)
    alice.edit(item, "How are you?")

    stage.wait_texts(alice, ["re: How are you?"])
    assert alice.texts() == [f"connected: {alice.name}", "re: How are you?"]


def test_what_came_while_the_connection_was_away_is_answered_in_order(
    stage: Stage, people: People, alice: Person
) -> None:
    for number in range(5):
        alice.say(f"{number}", silent=True)
    people.drop()
    stage.wait_texts(alice, [f"re: {number}" for number in range(5)])
    people.drop()
    alice.say("and now")
    stage.wait_texts(alice, ["re: and now"])

    assert alice.texts()[1:] == [*(f"re: {number}" for number in range(5)), "re: and now"]


def test_a_slow_handler_keeps_nobody_else_waiting(stage: Stage, people: People, alice: Person) -> None:
    bob = people.connect(next(_names))
    alice.say(f"/gate {alice.name}")
    bob.say("quick")
    stage.wait_texts(bob, ["re: quick"])
    assert alice.texts() == [f"connected: {alice.name}"]
    stage.open_gate(alice.name)

    stage.wait_texts(alice, ["through"])


def test_a_bot_gets_up_however_often_the_connection_breaks_meanwhile(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    steps = ("/user", "/_show_address", "/_address ", "/_address_settings", "/_profile ", "/_get chats")
    for step, fault in zip(steps, ["drop", "drop_after", "drop_mid"] * 2, strict=True):
        disturb(stage.people, fault, step)
    stage.bot.start("Address: ")
    alice = stage.people.request("alice")
    assert isinstance(alice, Person)
    stage.wait_texts(alice, ["connected: alice"])
    alice.say("hello")

    stage.wait_texts(alice, ["re: hello"])
    assert sum(command.startswith("/_address ") for command in stage.people.commands) <= 2


def test_strange_frames_are_left_out_and_the_bot_goes_on(stage: Stage, people: People, alice: Person) -> None:
    deep = '{"resp":' * 5000
    for frame in ("", "{", "null", "[1]", '{"resp": 5}', '{"corrId": "nobody", "resp": {"type": "cmdOk"}}', deep):
        people.do("send_raw", frame=frame)
    people.emit({"type": "somethingNew", "user": {"userId": 1}, "chatItem": []})
    people.emit({"type": "newChatItems", "chatItems": [{"chatInfo": 1}, None, {"chatItem": {"meta": {"itemId": "x"}}}]})
    alice.say("hello")

    stage.wait_texts(alice, ["re: hello"])


def test_by_a_business_address_everybody_has_a_chat_of_their_own_with_the_menu(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage()
    stage.bot = stage.process("simplex", BOT, SIMPLEX_BUSINESS_ADDRESS="1")
    stage.bot.start("Address: ")
    dave = stage.people.request("dave")
    assert isinstance(dave, Person)
    stage.wait_texts(dave, ["connected: dave"])
    dave.say("no command, no mention")
    stage.wait_texts(dave, ["re: no command, no mention"])

    def has_menu() -> bool | None:
        preferences = stage.people.do("group_profile", chat=dave.chat).get("groupPreferences") or {}
        return "show" in {command.get("keyword") for command in preferences.get("commands", ())} or None

    stage.bot.wait_until(has_menu)


def test_a_cli_that_ends_and_comes_back_finds_its_bot_again(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    stage.bot.start("Address: ")
    alice = stage.people.connect("alice")
    alice.say("before")
    stage.wait_texts(alice, ["re: before"])
    alice.say("not told of", silent=True)
    stage.cli.kill()
    stage.bot.wait_until(lambda: "nothing listens" in stage.bot.output or None)
    stage.cli.start("ws://")
    stage.wait_texts(alice, ["re: not told of"])
    alice.say("after")
    stage.wait_texts(alice, ["re: after"])

    assert stage.bot.terminate() == 0
    stage.bot.start("Address: ")
    alice.say("a new process")
    stage.wait_texts(alice, ["re: a new process"])
    assert alice.texts() == [
        "connected: alice", "re: before", "re: not told of", "re: after", "re: a new process"
    ]  # fmt: skip


def check_ledger(chats: list[Person], count: int, ends: int) -> None:
    """Every message answered, in its order. A process that lives looks whether a reply arrived, so none is doubled; one
    that ended does not know, so the replies that were on their way may be there twice."""
    doubled = 0
    for person in chats:
        said = [text for text in person.texts() if text.startswith("re: ")]
        once = list(dict.fromkeys(said))
        doubled += len(said) - len(once)
        assert once == [f"re: {person.name} {number}" for number in range(count)], person.name
    assert doubled <= ends * 8, "as many as there are threads"


def test_a_thousand_messages_over_fifty_chats_survive_breaks(make_stage: Callable[..., Stage]) -> None:
    stage, rng = make_stage(keeps_state=False), random.Random(7)
    stage.bot.start("Address: ")
    chats = [stage.people.connect(f"p{number}") for number in range(50)]
    for number in range(20):
        for person in chats:
            person.say(f"{person.name} {number}")
        if number % 3 == 1:
            stage.people.misbehave(rng.choice(["drop", "drop_after", "drop_mid"]), on="/_send")  # type: ignore[arg-type]
        elif number % 3 == 2:
            stage.people.drop()

    for person in chats:
        stage.wait_texts(person, [f"re: {person.name} 19"])
    check_ledger(chats, 20, ends=0)


def test_messages_survive_the_sudden_end_of_the_bot(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(keeps_state=False)
    stage.bot.start("Address: ")
    chats = [stage.people.connect(f"p{number}") for number in range(10)]
    for end in range(2):
        for number in range(10 * end, 10 * end + 10):
            for person in chats:
                person.say(f"{person.name} {number}")
        stage.bot.wait_until(lambda end=end: f"re: p9 {10 * end + 3}" in chats[9].texts() or None)  # type: ignore[misc]
        stage.bot.kill()
        stage.bot.start("Address: ")

    for person in chats:
        stage.wait_texts(person, [f"re: {person.name} 19"])
    check_ledger(chats, 20, ends=2)


def test_on_postgresql_workers_handle_and_the_connections_process_sends(
    make_stage: Callable[..., Stage], postgres_url: str
) -> None:
    stage = make_stage()
    settings = {"COMETBOT_DATABASE_URL": postgres_url, "COMETBOT_CHANNELS": "simplex"}
    stage.process("db", "upgrade", name="upgrade", **settings).start("")
    stage.bot = stage.process("simplex", BOT, "--no-handlers", **settings)
    stage.bot.start("Address: ")
    alice = stage.people.connect("alice")
    alice.say("hello")
    worker = stage.process("worker", BOT, name="worker", **settings)
    worker.start("")
    stage.wait_texts(alice, ["connected: alice", "re: hello"])
    for number in range(20):
        alice.say(f"{number}")

    stage.wait_texts(alice, [f"re: {number}" for number in range(20)])
    assert (worker.terminate(), stage.bot.terminate()) == (0, 0)


def test_a_second_bot_for_one_profile_is_refused_with_a_sentence(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    several = stage.process("simplex", "examples.several_bots:orders,examples.several_bots:stock", name="several")
    several.start("name one")

    assert "Traceback" not in several.output
