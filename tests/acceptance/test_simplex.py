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

from .conftest import ROOT, WAIT_TIMEOUT, wait_for

pytestmark = pytest.mark.process

BOT = "tests/acceptance/bots/simplex.py:bot"
COMETBOT = (str(Path(sys.executable).parent / "cometbot"),)
CLI = (sys.executable, "-m", "cometbot.testing.simplex")

T = TypeVar("T")


class BotProcess:
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

    def wait_until(self, condition: Callable[[], T | None], seconds: float = WAIT_TIMEOUT) -> T:
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
        status = self._process.wait(WAIT_TIMEOUT)
        self._process = None
        return status

    def close(self) -> None:
        if self._process is not None:
            self.kill()


class Harness:
    """The stand-in, and the processes of one bot. A stand-in that keeps its state can be ended and started again."""

    def __init__(self, folder: Path, *, keeps_state: bool = True) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        self.marks.mkdir()
        self._started: list[BotProcess] = []
        state = ("--state", str(folder / "cli.json")) if keeps_state else ()
        self.cli = self._process((*CLI, "--port", "0", *state), "cli")
        self.url = self.cli.start(r"ws://127\.0\.0\.1:\d+")[0]
        self.cli.command = (*CLI, "--port", self.url.rpartition(":")[2], *state)
        self.people = FakeSimplexControl(self.url, timeout=WAIT_TIMEOUT)
        self.bot = self.process("simplex", BOT)

    def process(self, *arguments: str, name: str = "bot", **environ: str) -> BotProcess:
        """One more process of the bot, not started yet."""
        settings = {
            "SIMPLEX_URL": self.url,
            "COMETBOT_DATABASE_URL": f"sqlite:///{self.folder}/bot.db",
            "COMETBOT_DATA": str(self.folder / "data"),
            "COMETBOT_TEST_MARKS": str(self.marks),
            "COMETBOT_ALLOW_PRIVATE_WEBHOOKS": "1",
        }
        return self._process((*COMETBOT, *arguments), name, **{**settings, **environ})

    def _process(self, command: tuple[str, ...], name: str, **environ: str) -> BotProcess:
        running = BotProcess(command, self.folder, name, **environ)
        self._started.append(running)
        return running

    def wait_texts(self, who: Person | FakeGroup, expected: list[str], seconds: float = WAIT_TIMEOUT) -> None:
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
def make_simplex_setup() -> Iterator[Callable[..., Harness]]:
    stages: list[Harness] = []
    with TemporaryFolder("test") as folder:

        def make(**options: bool) -> Harness:
            place = folder / str(len(stages))
            place.mkdir()
            stages.append(Harness(place, **options))
            return stages[-1]

        yield make
        for harness in stages:
            harness.close()


@pytest.fixture(scope="module")
def harness(make_simplex_setup: Callable[..., Harness]) -> Harness:
    """The stage that the tests of this module share, as far as they leave it whole."""
    harness = make_simplex_setup()
    harness.bot.start("Address: ")
    return harness


@pytest.fixture
def people(harness: Harness) -> People:
    return harness.people


_names = (f"person{number}" for number in range(1000))


@pytest.fixture
def alice(harness: Harness, people: People) -> Person:
    """Somebody who connected and was greeted."""
    person = people.connect(next(_names))
    harness.wait_texts(person, [f"connected: {person.name}"])
    return person


def test_startup_prints_profile_and_address(harness: Harness) -> None:
    assert re.search(r"Connected to SimpleX as Echo bot\.\nAddress: https://\S+", harness.bot.output)


def test_new_contact_is_accepted_and_answered(harness: Harness, people: People) -> None:
    erin = people.request("erin")
    assert isinstance(erin, Person)
    harness.wait_texts(erin, ["connected: erin"])
    erin.say("Good morning")

    harness.wait_texts(erin, ["re: Good morning"])


@pytest.mark.parametrize("fault", ["", "drop", "drop_after", "drop_mid"])
def test_group_mentions_and_commands_are_answered(harness: Harness, people: People, alice: Person, fault: str) -> None:
    group = people.add_group(f"Team {alice.name}", [alice])
    harness.wait_texts(group, ["joined: trial"])
    inject_fault(people, fault, "/_send")
    group.say(alice, "what a day")
    group.say(alice, "status?", mention=True)
    harness.wait_texts(group, ["re: status?"])
    group.say(alice, "/other bots have commands too")
    group.say(alice, "/quote")
    harness.wait_texts(group, ["that"])

    assert group.texts() == ["joined: trial", "re: status?", "that"]


FAULTS = ["", "drop", "drop_after", "drop_mid"]


def inject_fault(people: People, fault: str, on: str) -> None:
    """Let the connection break at the next command that begins with ``on``, if it is to."""
    if fault:
        people.misbehave(fault, on=on)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_message_is_answered(harness: Harness, people: People, alice: Person, fault: str) -> None:
    inject_fault(people, fault, "/_send")
    alice.say("hello")
    harness.wait_texts(alice, ["re: hello"])
    alice.say("again")
    harness.wait_texts(alice, ["re: again"])

    assert alice.texts() == [f"connected: {alice.name}", "re: hello", "re: again"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_comes_in(harness: Harness, people: People, alice: Person, fault: str) -> None:
    inject_fault(people, fault, "/freceive")
    alice.say("look", file=("notes.txt", b"Milk and bread"))

    harness.wait_texts(alice, ["notes.txt: Milk and bread"])
    assert len(alice.texts()) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_goes_out(harness: Harness, people: People, alice: Person, fault: str) -> None:
    inject_fault(people, fault, "/_send")
    alice.say("/file")
    harness.wait_texts(alice, ["The report"])

    line = alice.said()[-1]
    assert (line.content["type"], line.file_path) == ("file", str(harness.marks / "report.txt"))
    assert alice.texts() == [f"connected: {alice.name}", "The report"]


@pytest.mark.parametrize("fault", FAULTS)
def test_bot_edits_its_message(harness: Harness, people: People, alice: Person, fault: str) -> None:
    inject_fault(people, fault, "/_update item")
    alice.say("/change")
    harness.wait_texts(alice, ["done"])

    assert alice.texts() == [f"connected: {alice.name}", "done"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reaction_is_put_on_a_message(harness: Harness, people: People, alice: Person, fault: str) -> None:
    inject_fault(people, fault, "/_reaction")
    item = alice.say("/like")

    harness.bot.wait_until(
        lambda: next((line for line in people.lines(alice.chat) if line.item_id == item), None).reactions or None  # type: ignore[union-attr]
    )
    alice.say("thanks")
    harness.wait_texts(alice, ["re: thanks"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_message_is_written_before_ones_eyes(harness: Harness, people: People, alice: Person, fault: str) -> None:
    alice.say(f"/stream {alice.name}")
    harness.bot.wait_until(lambda: alice.said()[-1].is_live or None)
    inject_fault(people, fault, "/_update item")
    harness.open_gate(alice.name)
    harness.wait_texts(alice, ["".join(f"word{number} " for number in range(8))])

    harness.bot.wait_until(lambda: not alice.said()[-1].is_live or None)
    assert len(alice.texts()) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_reply_quotes_the_message(harness: Harness, people: People, alice: Person, fault: str) -> None:
    inject_fault(people, fault, "/_send")
    item = alice.say("/quote")
    harness.wait_texts(alice, ["that"])

    assert alice.said()[-1].quote_id == item
    assert alice.texts() == [f"connected: {alice.name}", "that"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_picture_from_the_web_goes_out_as_a_picture(
    harness: Harness, people: People, alice: Person, httpserver: HTTPServer, fault: str
) -> None:
    httpserver.expect_request("/cat.jpg").respond_with_data(make_file("cat.jpg"))
    inject_fault(people, fault, "/_send")
    alice.say(f"/show {httpserver.url_for('/cat.jpg')}")
    harness.wait_texts(alice, ["Look"])
    line = alice.said()[-1]

    assert (line.content["type"], Path(line.file_path).name) == ("image", "cat.jpg")
    assert line.content["image"].startswith("data:image/jpg;base64,/9j/")
    harness.bot.wait_until(lambda: people.file_of(line) == make_file("cat.jpg") or None)
    harness.bot.wait_until(lambda: not Path(line.file_path).exists() or None)
    assert len(alice.texts()) == 2


def test_media_are_sent_and_missing_ones_named(harness: Harness, alice: Person, httpserver: HTTPServer) -> None:
    kinds = {"song.mp3": "voice", "film.mp4": "video", "paper.pdf": "file"}
    for name, kind in kinds.items():
        httpserver.expect_request(f"/{name}").respond_with_data(make_file(name))
        alice.say(f"/show {httpserver.url_for(f'/{name}')}")
        harness.bot.wait_until(lambda kind=kind: alice.said()[-1].content["type"] == kind or None)  # type: ignore[misc]
    httpserver.expect_request("/gone.jpg").respond_with_data("", 404)
    gone = httpserver.url_for("/gone.jpg")
    alice.say(f"/show {gone}")

    harness.wait_texts(alice, ["Look", "Look", "Look", f"Look\n\n{gone}"])


def test_a_card_that_is_a_link_has_its_picture(harness: Harness, alice: Person, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/tea.png").respond_with_data(make_file("tea.png"))
    alice.say(f"/link {httpserver.url_for('/tea.png')}")
    harness.wait_texts(alice, ["Tea\n\nGreen\n\nRead on: https://example.com/tea"])
    preview = alice.said()[-1].content["preview"]

    assert (preview["uri"], preview["title"]) == ("https://example.com/tea", "Tea")
    assert preview["image"].startswith("data:image/jpg;base64,/9j/")


def test_messages_before_a_break_are_answered_first(harness: Harness, people: People, alice: Person) -> None:
    people.drop()
    wait_for(lambda: people.clients > 0)
    for number in range(0, 6, 2):
        alice.say(f"{number}", silent=True)
        alice.say(f"{number + 1}")
    harness.wait_texts(alice, ["re: 5"])

    assert alice.texts()[1:] == [f"re: {number}" for number in range(6)]


@pytest.mark.parametrize("breaks", [False, True])
def test_edits_and_reactions_are_handled(harness: Harness, people: People, alice: Person, breaks: bool) -> None:
    item = alice.say("helo")
    harness.wait_texts(alice, ["re: helo"])
    alice.edit(item, "hello")
    harness.wait_texts(alice, ["edited: hello"])
    if breaks:
        people.drop()
        wait_for(lambda: people.clients > 0)
    alice.react(alice.said()[-1].item_id, "🎉")

    harness.wait_texts(alice, ["reaction: 🎉"])


def test_live_message_is_answered_when_complete(harness: Harness, alice: Person) -> None:
    item = alice.say("How", live=True)
    alice.edit(item, "How are", live=True)
    alice.edit(item, "How are you?")

    harness.wait_texts(alice, ["re: How are you?"])
    assert alice.texts() == [f"connected: {alice.name}", "re: How are you?"]


def test_messages_during_an_outage_are_answered_in_order(harness: Harness, people: People, alice: Person) -> None:
    for number in range(5):
        alice.say(f"{number}", silent=True)
    people.drop()
    harness.wait_texts(alice, [f"re: {number}" for number in range(5)])
    people.drop()
    alice.say("and now")
    harness.wait_texts(alice, ["re: and now"])

    assert alice.texts()[1:] == [*(f"re: {number}" for number in range(5)), "re: and now"]


def test_slow_handler_does_not_block_others(harness: Harness, people: People, alice: Person) -> None:
    bob = people.connect(next(_names))
    alice.say(f"/gate {alice.name}")
    bob.say("quick")
    harness.wait_texts(bob, ["re: quick"])
    assert alice.texts() == [f"connected: {alice.name}"]
    harness.open_gate(alice.name)

    harness.wait_texts(alice, ["through"])


def test_startup_survives_connection_breaks(make_simplex_setup: Callable[..., Harness]) -> None:
    harness = make_simplex_setup()
    steps = ("/user", "/_show_address", "/_address ", "/_address_settings", "/_profile ", "/_get chats")
    for step, fault in zip(steps, ["drop", "drop_after", "drop_mid"] * 2, strict=True):
        inject_fault(harness.people, fault, step)
    harness.bot.start("Address: ")
    alice = harness.people.request("alice")
    assert isinstance(alice, Person)
    harness.wait_texts(alice, ["connected: alice"])
    alice.say("hello")

    harness.wait_texts(alice, ["re: hello"])
    assert sum(command.startswith("/_address ") for command in harness.people.commands) <= 2


def test_strange_frames_are_left_out_and_the_bot_goes_on(harness: Harness, people: People, alice: Person) -> None:
    deep = '{"resp":' * 5000
    for frame in ("", "{", "null", "[1]", '{"resp": 5}', '{"corrId": "nobody", "resp": {"type": "cmdOk"}}', deep):
        people.do("send_raw", frame=frame)
    people.emit({"type": "somethingNew", "user": {"userId": 1}, "chatItem": []})
    people.emit({"type": "newChatItems", "chatItems": [{"chatInfo": 1}, None, {"chatItem": {"meta": {"itemId": "x"}}}]})
    alice.say("hello")

    harness.wait_texts(alice, ["re: hello"])


def test_business_address_gives_each_customer_a_chat(
    make_simplex_setup: Callable[..., Harness],
) -> None:
    harness = make_simplex_setup()
    harness.bot = harness.process("simplex", BOT, SIMPLEX_BUSINESS_ADDRESS="1")
    harness.bot.start("Address: ")
    dave = harness.people.request("dave")
    assert isinstance(dave, Person)
    harness.wait_texts(dave, ["connected: dave"])
    dave.say("no command, no mention")
    harness.wait_texts(dave, ["re: no command, no mention"])

    def has_menu() -> bool | None:
        preferences = harness.people.do("group_profile", chat=dave.chat).get("groupPreferences") or {}
        return "show" in {command.get("keyword") for command in preferences.get("commands", ())} or None

    harness.bot.wait_until(has_menu)


def test_a_cli_that_ends_and_comes_back_finds_its_bot_again(make_simplex_setup: Callable[..., Harness]) -> None:
    harness = make_simplex_setup()
    harness.bot.start("Address: ")
    alice = harness.people.connect("alice")
    alice.say("before")
    harness.wait_texts(alice, ["re: before"])
    alice.say("not told of", silent=True)
    harness.cli.kill()
    harness.bot.wait_until(lambda: "nothing listens" in harness.bot.output or None)
    harness.cli.start("ws://")
    harness.wait_texts(alice, ["re: not told of"])
    alice.say("after")
    harness.wait_texts(alice, ["re: after"])

    assert harness.bot.terminate() == 0
    harness.bot.start("Address: ")
    alice.say("a new process")
    harness.wait_texts(alice, ["re: a new process"])
    assert alice.texts() == [
        "connected: alice", "re: before", "re: not told of", "re: after", "re: a new process"
    ]  # fmt: skip


def check_answered_once(chats: list[Person], count: int, ends: int) -> None:
    """Every message answered, in its order. A process that lives looks whether a reply arrived, so none is doubled; one
    that ended does not know, so the replies that were on their way may be there twice."""
    doubled = 0
    for person in chats:
        said = [text for text in person.texts() if text.startswith("re: ")]
        once = list(dict.fromkeys(said))
        doubled += len(said) - len(once)
        assert once == [f"re: {person.name} {number}" for number in range(count)], person.name
    assert doubled <= ends * 8, "as many as there are threads"


def test_a_thousand_messages_over_fifty_chats_survive_breaks(make_simplex_setup: Callable[..., Harness]) -> None:
    harness, rng = make_simplex_setup(keeps_state=False), random.Random(7)
    harness.bot.start("Address: ")
    chats = [harness.people.connect(f"p{number}") for number in range(50)]
    for number in range(20):
        for person in chats:
            person.say(f"{person.name} {number}")
        if number % 3 == 1:
            harness.people.misbehave(rng.choice(["drop", "drop_after", "drop_mid"]), on="/_send")  # type: ignore[arg-type]
        elif number % 3 == 2:
            harness.people.drop()

    for person in chats:
        harness.wait_texts(person, [f"re: {person.name} 19"])
    check_answered_once(chats, 20, ends=0)


def test_messages_survive_the_sudden_end_of_the_bot(make_simplex_setup: Callable[..., Harness]) -> None:
    harness = make_simplex_setup(keeps_state=False)
    harness.bot = harness.process("simplex", BOT, COMETBOT_TEST_LEASES="8")
    harness.bot.start("Address: ")
    chats = [harness.people.connect(f"p{number}") for number in range(10)]
    for end in range(2):
        for number in range(10 * end, 10 * end + 10):
            for person in chats:
                person.say(f"{person.name} {number}")
        harness.bot.wait_until(lambda end=end: f"re: p9 {10 * end + 3}" in chats[9].texts() or None)  # type: ignore[misc]
        harness.bot.kill()
        harness.bot.start("Address: ")

    for person in chats:
        harness.wait_texts(person, [f"re: {person.name} 19"])
    check_answered_once(chats, 20, ends=2)


def test_on_postgresql_workers_handle_and_simplex_sends(
    make_simplex_setup: Callable[..., Harness], postgres_url: str
) -> None:
    harness = make_simplex_setup()
    settings = {"COMETBOT_DATABASE_URL": postgres_url, "COMETBOT_CHANNELS": "simplex"}
    harness.process("db", "upgrade", name="upgrade", **settings).start("")
    harness.bot = harness.process("simplex", BOT, "--no-handlers", **settings)
    harness.bot.start("Address: ")
    alice = harness.people.connect("alice")
    alice.say("hello")
    worker = harness.process("worker", BOT, name="worker", **settings)
    worker.start("")
    harness.wait_texts(alice, ["connected: alice", "re: hello"])
    for number in range(20):
        alice.say(f"{number}")

    harness.wait_texts(alice, [f"re: {number}" for number in range(20)])
    assert (worker.terminate(), harness.bot.terminate()) == (0, 0)


def test_second_bot_for_one_profile_is_refused(make_simplex_setup: Callable[..., Harness]) -> None:
    harness = make_simplex_setup()
    several = harness.process("simplex", "examples.several_bots:orders,examples.several_bots:stock", name="several")
    several.start("name one")

    assert "Traceback" not in several.output
