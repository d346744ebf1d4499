"""The channel over a real WebSocket to the stand-in, beside what the contract of all channels asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cometbot import (
    Bot,
    BotError,
    Button,
    Card,
    ChannelError,
    ContactEvent,
    Context,
    EditEvent,
    Media,
    MembershipEvent,
    Rejected,
    Text,
    UnknownEvent,
    has_attachment,
)
from cometbot.channels.simplex import file, service
from cometbot.testing import BotClient
from cometbot.testing.fakes.simplex import SimplexFake
from cometbot.testing.simplex.command_grammar import read_command
from cometbot.testing.simplex.web import make_file


@pytest.fixture
def bot() -> Bot:
    return Bot("shop", description="Sells.")


@pytest.fixture
def client(bot: Bot) -> Iterator[BotClient]:
    with BotClient(bot, channel="simplex") as client:
        yield client


@pytest.fixture
def fake(client: BotClient) -> SimplexFake:
    assert isinstance(client.fake, SimplexFake)
    return client.fake


def test_a_file_comes_whole_under_a_safe_name(bot: Bot, client: BotClient) -> None:
    @bot.message(has_attachment)
    def received(ctx: Context) -> str:
        path = ctx.client.receive(ctx.attachments[0])
        return f"{path.name}: {path.read_bytes()!r}"

    assert client.send_file(b"Milk", name="../list of things.txt").text == "501-list of things.txt: b'Milk'"


def test_a_file_on_foreign_servers_is_received_too(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.message(has_attachment)
    def received(ctx: Context) -> str:
        return str(ctx.client.download(ctx.attachments[0].url), "utf-8")

    maria = fake.person(client.user)
    maria.say("", file=("a.txt", b"Milk"), foreign=True)
    client.advance(0)

    assert maria.texts() == ["Milk"]


def test_files_use_a_folder_with_two_paths(bot: Bot, tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "cli")

    @bot.message(has_attachment)
    def received(ctx: Context) -> object:
        path = ctx.client.receive(ctx.attachments[0])
        assert path.parent == tmp_path / "here"
        return file(str(path), caption=path.read_text())

    folders = {"simplex_files": str(tmp_path / "cli"), "simplex_files_here": str(tmp_path / "here")}
    with BotClient(bot, channel=lambda bot: SimplexFake(bot, **folders)) as client:
        assert client.send_file(b"Milk", name="list.txt").text == "Milk"
        assert isinstance(client.fake, SimplexFake)
        assert client.fake.cli.said()[-1].file_path == str(tmp_path / "cli" / "501-list.txt")


def test_a_file_that_fails_raises_what_a_handler_can_explain(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.message(has_attachment)
    def received(ctx: Context) -> None:
        ctx.client.receive(ctx.attachments[0], limit=3)

    @bot.error(Rejected)
    def too_large(ctx: Context, error: Rejected) -> str:
        return error.code

    with pytest.raises(Rejected, match="limit is 3"):
        client.send_file(b"Milk", name="list.txt")
    assert client.said().texts == ["file_too_large"]


def test_files_go_out_with_caption_preview_and_time_to_live(
    bot: Bot, client: BotClient, fake: SimplexFake, tmp_path: Path
) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"JPG")

    @bot.fallback
    def answer(ctx: Context) -> list[object]:
        path = str(tmp_path / "cat.jpg")
        return [file(path, "image", "A cat", preview="data:image/jpg;base64,AA", ttl=60), file(path)]

    client.send("cat?")
    picture, plain = fake.person(client.user).said()

    assert (picture.content["type"], picture.text, picture.ttl) == ("image", "A cat", 60)
    assert (plain.content["type"], plain.file_path) == ("file", str(tmp_path / "cat.jpg"))


def test_missing_file_is_a_dead_letter_with_reason(bot: Bot) -> None:
    @bot.fallback
    def answer(ctx: Context) -> object:
        return file("/nowhere/cat.jpg")

    with BotClient(bot, channel="simplex", raise_errors=False) as client:
        client.send("cat?")
        [letter] = client.dead_letters

    assert letter.error == "file_missing: the file /nowhere/cat.jpg does not exist"


def test_a_quote_a_mention_and_a_message_that_disappears(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.fallback
    def answer(ctx: Context) -> None:
        ctx.reply(Text(f"<@uid:{ctx.sender.uid}> that", metadata={"ttl": 60}), quote=True)

    ops = client.in_group("ops")
    ops.send("this")
    [line] = fake.group("ops").said()

    assert (line.text, line.ttl, line.quote_id) == ("@Maria that", 60, int(ops.message_id))
    assert line.mentions == ("Maria",)


def test_live_message_is_answered_once_then_edited(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.event(EditEvent)
    def edited(ctx: Context) -> str:
        assert isinstance(ctx.event, EditEvent)
        return f"edited: {ctx.event.message.text}"

    @bot.fallback
    def answer(ctx: Context) -> str:
        return f"re: {ctx.text}"

    maria = fake.person(client.user)
    item = maria.say("He", live=True)
    maria.edit(item, "Hello", live=True)
    client.advance(0)
    assert maria.texts() == []
    maria.edit(item, "Hello you")
    client.advance(0)
    maria.edit(item, "Hello you!")
    client.advance(0)

    assert maria.texts() == ["re: Hello you", "edited: Hello you!"]


def test_handler_accepts_contact_request(bot: Bot) -> None:
    @bot.event(ContactEvent)
    def contact(ctx: Context) -> str | None:
        assert isinstance(ctx.event, ContactEvent)
        if ctx.event.action == "request":
            ctx.client.accept(ctx.sender.uid)
            return None
        return f"Welcome, {ctx.sender.name}."

    with BotClient(bot, channel=lambda bot: SimplexFake(bot, simplex_auto_accept=False)) as client:
        fake = client.fake
        assert isinstance(fake, SimplexFake)
        assert fake.cli.request("erin") == 71
        client.advance(0)
        client.advance(0)

        assert "Welcome, erin." in fake.cli.texts()


def test_contact_request_cannot_be_answered_before_accept(bot: Bot) -> None:
    @bot.event(ContactEvent)
    def contact(ctx: Context) -> str:
        return "No."

    with BotClient(bot, raise_errors=False, channel=lambda bot: SimplexFake(bot, simplex_auto_accept=False)) as client:
        assert isinstance(client.fake, SimplexFake)
        client.fake.cli.request("erin")
        client.advance(0)
        [letter] = client.dead_letters

    assert letter.error.startswith("not_connected: cannot send to a user who is not connected yet")


def test_an_invitation_to_a_group_is_accepted_by_a_handler(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.event(UnknownEvent)
    def other(ctx: Context) -> str | None:
        assert isinstance(ctx.event, UnknownEvent)
        if ctx.event.kind != "receivedGroupInvitation":
            return None
        ctx.client.join(ctx.event.raw["groupInfo"]["groupId"])
        return "I am coming."

    @bot.event(MembershipEvent)
    def member(ctx: Context) -> None: ...

    maria = fake.person(client.user)
    group = fake.cli.add_group("Team", [maria], invited=True)
    client.advance(0)

    assert maria.texts() == ["I am coming."]
    assert f"/_join {group.chat}" in fake.cli.commands


def test_support_chat_is_answered_in_its_scope(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.fallback
    def answer(ctx: Context) -> str:
        return f"re: {ctx.text}"

    group = fake.group("ops")
    talk = group.scope(group.join("bob"))
    talk.say("bob", "help")
    client.advance(0)

    assert talk.texts() == ["re: help"]
    assert group.texts() == []


@pytest.mark.parametrize(("handle_bots", "count"), [(False, 0), (True, 9)])
def test_handle_bots_answers_bots_a_limited_number_of_times(handle_bots: bool, count: int) -> None:
    bot = Bot("shop", handle_bots=handle_bots)

    @bot.fallback
    def answer(ctx: Context) -> str:
        return "And you?"

    with BotClient(bot, channel="simplex") as client:
        assert isinstance(client.fake, SimplexFake)
        robot = client.fake.cli.connect("robot", is_bot=True)
        for _ in range(15):
            robot.say("How are you?")
        client.advance(0)

        assert robot.texts() == ["And you?"] * count, "it counts as one of ten that it connected"


def test_the_clients_errors_are_errors_of_channels(bot: Bot, client: BotClient) -> None:
    @bot.fallback
    def answer(ctx: Context) -> str:
        try:
            ctx.client.members(99)
        except ChannelError as error:
            return str(error.code)  # type: ignore[attr-defined]
        return "there is one"

    assert client.send("who?").text == "errorStore.groupNotFound"


def test_raw_command_returns_raw_answer(bot: Bot, client: BotClient) -> None:
    @bot.fallback
    def answer(ctx: Context) -> str:
        return str(ctx.client.command("/user")["user"]["userId"])

    assert client.send("who?").text == "1"


def test_a_name_of_somebody_is_no_address(bot: Bot, client: BotClient) -> None:
    with pytest.raises(BotError, match="expected a number"):
        bot.send(user="maria", text="hello")


@pytest.mark.parametrize("form", ["either", "remote_host"])
def test_other_forms_of_the_wire_make_no_difference(bot: Bot, form: str) -> None:
    @bot.fallback
    def answer(ctx: Context) -> str:
        return f"re: {ctx.text}"

    def make(bot: Bot) -> SimplexFake:
        fake = SimplexFake(bot)
        fake.cli.server.form = form  # type: ignore[assignment]
        fake.cli.server.has_unknown_fields = True
        return fake

    with BotClient(bot, channel=make) as client:
        assert client.send("hello").text == "re: hello"
        assert client.in_group("ops").send("hello", mention=True).text == "re: hello"


PHOTO = "https://example.com/a/photo.jpg"


def test_a_picture_from_the_web_is_a_picture(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.fallback
    def answer(ctx: Context) -> Media:
        return Media(PHOTO, caption="A *cat*")

    client.send("cat?")
    [line] = fake.person(client.user).said()

    assert (line.content["type"], line.text) == ("image", "A *cat*")
    assert line.content["image"].startswith("data:image/jpg;base64,/9j/")
    assert len(line.content["image"]) > 300
    assert fake.cli.file_of(line) == make_file("photo.jpg")
    fake.cli.wait_for(lambda: not Path(line.file_path).exists())


@pytest.mark.parametrize(
    ("url", "kind", "seconds"),
    [
        ("https://example.com/song.mp3", "voice", 2),
        ("https://example.com/film.mp4", "video", 2),
        ("https://example.com/paper.pdf", "file", None),
    ],
)
def test_remote_media_is_sent_as_its_type(
    bot: Bot, client: BotClient, fake: SimplexFake, url: str, kind: str, seconds: int | None
) -> None:
    @bot.fallback
    def answer(ctx: Context) -> Media:
        return Media(url)

    client.send("show me")
    [line] = fake.person(client.user).said()

    assert (line.content["type"], line.content.get("duration")) == (kind, seconds)
    assert fake.cli.file_of(line) == make_file(url)


def test_a_file_stays_until_it_is_uploaded(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.fallback
    def answer(ctx: Context) -> Media:
        return Media(PHOTO)

    fake.cli.do("hold_uploads")
    client.send("cat?")
    [line] = fake.person(client.user).said()
    assert fake.cli.file_of(line) is None
    assert Path(line.file_path).read_bytes() == make_file("photo.jpg")
    fake.cli.do("finish_upload", file_id=line.raw["chatItem"]["file"]["fileId"])

    assert fake.cli.file_of(line) == make_file("photo.jpg")
    fake.cli.wait_for(lambda: not Path(line.file_path).exists())


def test_unavailable_file_falls_back_to_its_url(
    bot: Bot, client: BotClient, fake: SimplexFake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.web.files[PHOTO] = None

    @bot.fallback
    def answer(ctx: Context) -> Media:
        return Media(PHOTO, caption="A cat")

    assert client.send("cat?").texts == [f"A cat\n\n{PHOTO}"]
    assert "answered 404" in caplog.text


def test_file_rejected_by_cli_falls_back_to_its_url(
    bot: Bot, client: BotClient, fake: SimplexFake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.cli.handlers.file_limit = 10

    @bot.fallback
    def answer(ctx: Context) -> Media:
        return Media(PHOTO)

    assert client.send("cat?").texts == [PHOTO]
    assert "fileSize" in caplog.text


@pytest.mark.parametrize("fault", ["failed", "unreachable", "failed_after_acting"])
def test_a_picture_survives_what_a_text_survives(bot: Bot, client: BotClient, fake: SimplexFake, fault: Any) -> None:
    @bot.fallback
    def answer(ctx: Context) -> Media:
        return Media(PHOTO, caption="A cat")

    fake.misbehave(fault)
    client.send("cat?")
    client.advance(60)
    [line] = fake.person(client.user).said()

    assert (line.content["type"], line.text) == ("image", "A cat")
    assert fake.web.asked == [PHOTO]
    fake.cli.wait_for(lambda: not Path(line.file_path).exists())


def test_without_shared_folder_urls_are_sent(bot: Bot) -> None:
    @bot.fallback
    def answer(ctx: Context) -> Media:
        return Media(PHOTO, caption="A cat")

    class Far(SimplexFake):
        def __init__(self, bot: Bot) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(service, "get_shared_folder", lambda settings: None)
                super().__init__(bot)

    with BotClient(bot, channel=Far) as client:
        assert client.send("cat?").texts == [f"A cat\n\n{PHOTO}"]


def test_mention_in_caption_is_sent(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    team = client.in_group("Team")

    @bot.fallback
    def answer(ctx: Context) -> Media:
        return Media(PHOTO, caption=f"For <@uid:{ctx.sender.uid}>")

    team.send("cat?")
    [line] = fake.group("Team").said()

    assert line.content["type"] == "image"
    assert line.mentions
    assert "<@uid" not in line.text


def test_a_card_with_one_link_is_a_link_with_its_picture(bot: Bot, client: BotClient, fake: SimplexFake) -> None:
    @bot.fallback
    def answer(ctx: Context) -> list[Card]:
        button = Button("Read on", url="https://example.com/tea")
        fake.web.files["https://example.com/gone.jpg"] = None
        return [
            Card("Tea", "Green", PHOTO, [button]),
            Card("Tea", "Green", "https://example.com/gone.jpg", [button]),
            Card("Tea", buttons=[button]),
        ]

    client.send("tea?")
    shown, gone, plain = (line.content["preview"] for line in fake.person(client.user).said())

    assert (shown["uri"], shown["title"], shown["description"]) == ("https://example.com/tea", "Tea", "Green")
    assert shown["image"].startswith("data:image/jpg;base64,/9j/")
    assert gone["image"] == plain["image"] == ""
    assert fake.web.asked == [PHOTO, "https://example.com/gone.jpg"], "never the page itself"


def test_file_downloaded_before_restart_is_found(bot: Bot, tmp_path: Path) -> None:
    """By a CLI that accepts files by itself, into its own folder."""

    @bot.message(has_attachment)
    def received(ctx: Context) -> str:
        path = ctx.client.receive(ctx.attachments[0], timeout=20)
        return f"{path.name}: {path.read_text()}"

    with BotClient(bot, channel=lambda bot: SimplexFake(bot, simplex_files=str(tmp_path))) as client:
        fake = client.fake
        assert isinstance(fake, SimplexFake)
        fake.cli.handlers.files_folder = str(tmp_path)
        maria = fake.person(client.user)
        item = maria.say("", file=("list.txt", b"Milk"), silent=True)
        file_id = next(line for line in fake.cli.lines() if line.item_id == item).raw["chatItem"]["file"]["fileId"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fake.cli.handlers.state, "emit", lambda record: None)  # nobody was there to be told
            fake.cli.handlers.handle(read_command(f"/freceive {file_id} approved_relays=on encrypt=off"))
        fake.service.connection.disconnect()
        fake.wait_idle()
        client.advance(0)

        assert maria.texts() == ["list.txt: Milk"]
