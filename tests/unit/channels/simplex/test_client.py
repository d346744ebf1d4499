"""What ``ctx.client`` asks of the CLI, and how files come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from cometbot.channels.simplex import client as simplex_client
from cometbot.channels.simplex.client import ReadOnlySimplexClient, SimplexClient
from cometbot.channels.simplex.download_tracker import DownloadTracker
from cometbot.channels.simplex.errors import CommandRejected, ConnectionLost, NotConnected
from cometbot.channels.simplex.files import SharedFolder
from cometbot.channels.simplex.protocol import Command, Record
from cometbot.errors import BotError, MessageError, OutcomeUnknown, Rejected
from cometbot.models import Attachment

from .test_download_tracker import complete, failed

URL = "simplex-file:5?size=4&name=a.txt"


class FakeConnection:
    """Answers with what was prepared, or raises it; ``then`` happens after each answer."""

    def __init__(self, *answers: Record | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.then: Callable[[], Any] = lambda: None

    def command(self, command: Command | str, *, timeout: float | None = None, wait: float = 0.0) -> Record:
        assert isinstance(command, Command)
        self.asked.append(command.text)
        answer = self.answers.pop(0) if self.answers else Record("cmdOk", {"type": "cmdOk"})
        if isinstance(answer, Exception):
            raise answer
        self.then()
        return answer


def rejected(tag: str) -> CommandRejected:
    error = CommandRejected(tag)
    error.tags = ("error", tag)
    return error


@pytest.fixture
def downloads() -> DownloadTracker:
    return DownloadTracker()


def make(fake_connection: FakeConnection, downloads: DownloadTracker, folder: Path, limit: int = 100) -> SimplexClient:
    return SimplexClient(fake_connection, lambda: 1, downloads, SharedFolder(PurePosixPath("/srv/cli"), folder), limit)


@pytest.fixture
def fake_connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def client(fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path) -> SimplexClient:
    return make(fake_connection, downloads, tmp_path / "files")


def test_command_returns_raw_answer(client: SimplexClient, fake_connection: FakeConnection) -> None:
    fake_connection.answers = [Record("agentSubs", {"type": "agentSubs", "activeSubs": {}})]

    assert client.command("/get subs") == {"type": "agentSubs", "activeSubs": {}}
    assert fake_connection.asked == ["/get subs"]
    with pytest.raises(MessageError, match="begins as in the CLI's console"):
        client.command("get subs")


@pytest.mark.parametrize(
    ("call", "command"),
    [
        (lambda client: client.contacts(), "/_contacts 1"),
        (lambda client: client.groups(), "/_groups 1"),
        (lambda client: client.groups("team"), "/_groups 1 team"),
        (lambda client: client.members("3"), "/_members #3"),
        (lambda client: client.add_member(3, "4"), "/_add #3 4 member"),
        (lambda client: client.add_member("3", 4, "admin"), "/_add #3 4 admin"),
        (lambda client: client.accept("request-7"), "/_accept 7"),
        (lambda client: client.accept(7), "/_accept 7"),
        (lambda client: client.reject("request-7"), "/_reject 7"),
        (lambda client: client.join("3"), "/_join #3"),
    ],
)
def test_the_methods_are_commands(
    client: SimplexClient, fake_connection: FakeConnection, call: Callable[[SimplexClient], Any], command: str
) -> None:
    call(client)

    assert fake_connection.asked == [command]


@pytest.mark.parametrize("value", ["team", "", "-3", "3 5", "٣"])
def test_what_is_no_number_is_refused(client: SimplexClient, value: str) -> None:
    with pytest.raises(BotError, match="expected a number"):
        client.members(value)


def complete_download(
    folder: Path, downloads: DownloadTracker, text: str = "tea!", path: str = "/srv/cli/5-a.txt"
) -> None:
    (folder / "files" / "5-a.txt").write_text(text)
    downloads.handle_event(complete(5, path))


def test_a_file_is_fetched_and_its_place_is_given(
    client: SimplexClient, fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path
) -> None:
    fake_connection.then = lambda: complete_download(tmp_path, downloads)
    path = client.receive(Attachment(URL, "a.txt"))

    assert (path, path.read_text()) == (tmp_path / "files" / "5-a.txt", "tea!")
    assert fake_connection.asked == ["/freceive 5 approved_relays=on encrypt=off /srv/cli/5-a.txt"]


def test_existing_file_is_not_requested_again(
    client: SimplexClient, fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path
) -> None:
    fake_connection.then = lambda: complete_download(tmp_path, downloads)
    client.receive(URL)
    fake_connection.asked.clear()

    assert client.download(URL) == b"tea!"
    assert client.download(URL, tmp_path / "copy") == b""
    assert (tmp_path / "copy").read_bytes() == b"tea!"
    assert fake_connection.asked == []


@pytest.mark.parametrize("tag", ["fileAlreadyReceiving", "fileAlreadyExists"])
def test_a_file_that_is_on_its_way_is_waited_for(
    client: SimplexClient, fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path, tag: str
) -> None:
    fake_connection.answers = [rejected(tag)]
    timer = threading.Timer(0.05, complete_download, [tmp_path, downloads])
    timer.start()

    assert client.receive(URL).read_text() == "tea!"
    timer.join()


def test_finished_file_is_detected_by_size(
    client: SimplexClient, fake_connection: FakeConnection, tmp_path: Path
) -> None:
    fake_connection.then = lambda: (tmp_path / "files" / "5-a.txt").write_text("tea!")

    assert client.receive(URL).read_text() == "tea!"


def test_a_broken_connection_is_waited_out(
    client: SimplexClient, fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path
) -> None:
    fake_connection.answers = [ConnectionLost("broke"), NotConnected("not yet"), rejected("fileAlreadyReceiving")]
    timer = threading.Timer(0.6, complete_download, [tmp_path, downloads])
    timer.start()

    assert client.receive(URL).read_text() == "tea!"
    timer.join()
    assert len(fake_connection.asked) == 3


def test_auto_received_file_is_found(
    client: SimplexClient, fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    complete_download(tmp_path, downloads)

    assert client.receive(5).read_text() == "tea!"
    assert client.receive(5).read_text() == "tea!"
    assert fake_connection.asked == []


def test_removed_file_is_requested_again(
    client: SimplexClient, fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    complete_download(tmp_path, downloads)
    (tmp_path / "files" / "5-a.txt").unlink()
    fake_connection.then = lambda: complete_download(tmp_path, downloads)

    assert client.receive(5).read_text() == "tea!"
    assert len(fake_connection.asked) == 1


def test_a_file_over_the_limit_is_refused_before_it_is_loaded(
    client: SimplexClient, fake_connection: FakeConnection
) -> None:
    with pytest.raises(Rejected, match="has 400 bytes, and the limit is 100"):
        client.receive("simplex-file:5?size=400")
    with pytest.raises(Rejected, match="the limit is 3"):
        client.receive(URL, limit=3)
    assert fake_connection.asked == []


def test_a_file_that_lied_about_its_size_is_removed(
    client: SimplexClient, fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path
) -> None:
    fake_connection.then = lambda: complete_download(tmp_path, downloads, "x" * 101)
    with pytest.raises(Rejected, match="larger than announced"):
        client.receive(URL)

    assert not (tmp_path / "files" / "5-a.txt").exists()


def test_download_failures_have_reasons(
    client: SimplexClient, fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path
) -> None:
    encrypted = complete(5)
    encrypted.raw["chatItem"]["chatItem"]["file"]["fileSource"]["cryptoArgs"] = {"fileKey": "k", "fileNonce": "n"}
    events = [
        (encrypted, "encrypted"),
        (failed("rcvFileError", 5), "could not load"),
        (failed("rcvFileSndCancelled", 5), "sender cancelled"),
        (complete(5, "/etc/passwd"), "outside of /srv/cli"),
        (complete(5, "nowhere.txt"), "SIMPLEX_FILES_HERE"),
    ]
    for record, problem in events:
        downloads.discard(5)
        fake_connection.then = lambda record=record: downloads.handle_event(record)  # type: ignore[misc]
        with pytest.raises(Rejected, match=problem):
            client.receive(URL)
    fake_connection.then = lambda: None
    fake_connection.answers = [Record("rcvFileAcceptedSndCancelled", {}), rejected("fileNotApproved")]
    for _ in range(2):
        with pytest.raises(Rejected):
            client.receive(URL)


def test_a_file_that_does_not_come_in_time_may_still_come(client: SimplexClient) -> None:
    with pytest.raises(OutcomeUnknown, match=r"within 0\.1 s; it may still arrive"):
        client.receive(URL, timeout=0.1)


def chat_with(*items: tuple[int, dict[str, Any] | None]) -> Record:
    """A page of a chat: the numbers of items, and their files."""
    listed = [
        {
            "chatDir": {"type": "directRcv"},
            "meta": {"itemId": number, "itemTs": "2026-03-01T10:00:05Z", "createdAt": "2026-03-01T10:00:05Z"},
            "content": {"type": "rcvMsgContent", "msgContent": {"type": "file", "text": ""}},
            **({} if file is None else {"file": {"fileName": "a.txt", "fileSize": 4, **file}}),
        }
        for number, file in items
    ]
    info = complete(5).raw["chatItem"]["chatInfo"]
    return Record("apiChat", {"type": "apiChat", "chat": {"chatInfo": info, "chatItems": listed, "chatStats": {}}})


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"fileStatus": {"type": "rcvComplete"}, "fileSource": {"filePath": "b.txt"}}, "tea!"),
        ({"fileStatus": {"type": "rcvError", "rcvFileError": {"type": "auth"}}}, "could not load"),
        ({"fileStatus": {"type": "rcvCancelled"}}, "was cancelled"),
        ({"fileStatus": {"type": "rcvAborted"}}, "broken off"),
    ],
)
def test_unseen_download_result_is_fetched(
    client: SimplexClient,
    fake_connection: FakeConnection,
    tmp_path: Path,
    file: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simplex_client, "_POLL_INTERVAL", 0.01)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "b.txt").write_text("tea!")
    newer = [(number, None) for number in range(21, 121)]
    fake_connection.answers = [
        rejected("fileAlreadyReceiving"),
        chat_with(*newer),
        chat_with((20, {"fileId": 5, **file})),
    ]
    try:
        found = client.receive(f"{URL}&chat=%404&item=20", timeout=20).read_text()
    except Rejected as error:
        found = str(error)

    assert said in found
    assert fake_connection.asked[1:] == ["/_get chat @4 count=100", "/_get chat @4 before=21 count=100"]


@pytest.mark.parametrize(
    "answer",
    [
        chat_with((20, {"fileId": 5, "fileStatus": {"type": "rcvTransfer", "rcvProgress": 0, "rcvTotal": 1}})),
        chat_with((20, {"fileId": 6, "fileStatus": {"type": "rcvComplete"}})),
        chat_with(),
        NotConnected("gone"),
        Record("apiChat", {"type": "apiChat", "chat": "none"}),
    ],
)
def test_a_file_that_is_still_on_its_way_is_waited_for(
    client: SimplexClient, fake_connection: FakeConnection, answer: Record | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simplex_client, "_POLL_INTERVAL", 0.01)
    fake_connection.answers = [rejected("fileAlreadyReceiving"), answer]
    with pytest.raises(OutcomeUnknown, match="may still arrive"):
        client.receive(f"{URL}&chat=%404&item=20", timeout=0.3)

    assert len(fake_connection.asked) == 2


def test_without_connection_methods_raise_bot_error(downloads: DownloadTracker, tmp_path: Path) -> None:
    client = SimplexClient(None, lambda: 1, downloads, SharedFolder(PurePosixPath("/srv/cli"), tmp_path), 100)
    for call in (client.contacts, lambda: client.command("/user"), lambda: client.receive(URL)):
        with pytest.raises(BotError, match="cometbot simplex"):
            call()


def test_without_shared_folder_error_names_settings(
    fake_connection: FakeConnection, downloads: DownloadTracker
) -> None:
    client = SimplexClient(fake_connection, lambda: 1, downloads, None, 100)
    with pytest.raises(BotError, match="SIMPLEX_FILES_HERE"):
        client.receive(URL)


def test_before_first_connection_raises_not_connected(
    fake_connection: FakeConnection, downloads: DownloadTracker, tmp_path: Path
) -> None:
    client = SimplexClient(
        fake_connection, lambda: 0, downloads, SharedFolder(PurePosixPath("/srv/cli"), tmp_path), 100
    )
    with pytest.raises(NotConnected, match="once it is ready"):
        client.contacts()


def test_readonly_client_only_reads(client: SimplexClient, fake_connection: FakeConnection, tmp_path: Path) -> None:
    withheld: list[str] = []
    muted = ReadOnlySimplexClient(client, withheld.append)
    muted.contacts()
    muted.add_member(3, 4)
    muted.command("/_delete @4 full")
    with pytest.raises(Rejected, match="not received before"):
        muted.receive(URL)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "5-a.txt").write_text("tea!")

    assert muted.download(URL) == b"tea!"
    assert fake_connection.asked == ["/_contacts 1"]
    assert withheld == ["/_add", "/_delete", "/freceive"]
