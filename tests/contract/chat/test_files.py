"""Files: whole or not at all, of the type that is in them, and gone when nobody needs them."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from cometbot.chat import Chat, ChatFile, Draft, Scope, Upload
from cometbot.errors import FileTooLarge
from cometbot.store.tables import chat_files
from tests.contract.chat.conftest import SCOPE, Room

LIMITS = {"image": 100, "file": 50}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def receive(chat: Chat, content: bytes, name: str = "a.txt") -> Upload:
    return chat.files.receive(io.BytesIO(content), name=name, limits=LIMITS)


def save(
    chat: Chat, content: bytes = b"hello", name: str = "a.txt", scope: Scope = SCOPE, owner: str = "ann"
) -> ChatFile:
    upload = receive(chat, content, name)
    with chat.database.write() as connection:
        file = chat.files.save(connection, scope, upload, owner)
    upload.finalize()
    return file


def fail_to_save(chat: Chat, upload: Upload) -> None:
    def fail() -> None:
        with chat.database.write() as connection:
            chat.files.save(connection, SCOPE, upload, "ann")
            raise KeyError

    with pytest.raises(KeyError):
        fail()


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[], list[bytes]]:
    """The contents of all files in the folder."""
    return lambda: sorted(path.read_bytes() for path in (tmp_path / "files").rglob("*") if path.is_file())


def test_saved_file_is_found_with_its_bytes(chat: Chat, on_disk: Callable[[], list[bytes]]) -> None:
    file = save(chat, PNG, "holiday.txt")
    with chat.database.read() as connection:
        assert chat.files.get(connection, SCOPE, file.id) == file
    assert (file.name, file.size, file.mime_type, file.kind, file.owner, file.used_at) == (
        "holiday.txt",
        len(PNG),
        "image/png",
        "image",
        "ann",
        None,
    )
    assert chat.files.path(file).read_bytes() == PNG
    assert on_disk() == [PNG]
    assert oct(chat.files.path(file).parent.stat().st_mode & 0o777) == "0o700"


@pytest.mark.parametrize(
    ("content", "name", "kind", "limit"),
    [
        (b"x" * 51, "a.txt", "file", 50),
        (PNG + b"x" * 100, "a.png", "image", 100),
        (b"ID3\x03" * 9, "a.mp3", "audio", 0),
    ],
)
def test_file_over_its_kinds_limit_is_rejected(
    chat: Chat, on_disk: Callable[[], list[bytes]], content: bytes, name: str, kind: str, limit: int
) -> None:
    with pytest.raises(FileTooLarge, match=f"{kind}: expected at most {limit} bytes, got more") as caught:
        receive(chat, content, name)
    assert (caught.value.kind, caught.value.limit) == (kind, limit)
    assert on_disk() == []


def test_reading_stops_at_the_limit(chat: Chat) -> None:
    class Endless:
        taken = 0

        def read(self, size: int) -> bytes:
            self.taken += size
            return b"x" * size

    source = Endless()
    with pytest.raises(FileTooLarge):
        chat.files.receive(source, name="a.bin", limits={"file": 300_000})
    assert source.taken < 500_000


def test_an_upload_that_breaks_off_leaves_nothing(chat: Chat, on_disk: Callable[[], list[bytes]]) -> None:
    class Broken:
        pieces = 3

        def read(self, size: int) -> bytes:
            self.pieces -= 1
            if not self.pieces:
                raise ConnectionError
            return b"x" * size

    with pytest.raises(ConnectionError):
        chat.files.receive(Broken(), name="a.bin", limits={"file": 10**9})
    assert on_disk() == []


def test_long_file_arrives_whole_from_a_slow_source(chat: Chat) -> None:
    content = os.urandom(300_000)

    class Slow:
        rest = io.BytesIO(content)

        def read(self, size: int) -> bytes:
            return self.rest.read(min(size, 999))

    upload = chat.files.receive(Slow(), name="a.bin", limits={"file": 300_000})
    assert upload.path.read_bytes() == content
    assert upload.size == 300_000


def test_an_empty_file_is_a_file(chat: Chat) -> None:
    file = save(chat, b"", "empty")
    assert (file.size, file.mime_type, file.kind) == (0, "application/octet-stream", "file")
    assert chat.files.path(file).read_bytes() == b""


def test_a_discarded_upload_leaves_nothing(chat: Chat, on_disk: Callable[[], list[bytes]]) -> None:
    upload = receive(chat, b"hello")
    upload.discard()
    upload.discard()
    assert on_disk() == []


def test_a_transaction_that_fails_leaves_nothing(chat: Chat, on_disk: Callable[[], list[bytes]]) -> None:
    upload = receive(chat, b"hello")
    fail_to_save(chat, upload)
    upload.discard()
    assert on_disk() == []
    with chat.database.read() as connection:
        assert chat.files.list(connection, SCOPE).items == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\tmp\\x.png", "x.png"),
        ("a\0b\r\nc\u202e.txt", "abc.txt"),
        ("\ud800", "\ufffd"),
        ("می\u200cخواهم.pdf", "می\u200cخواهم.pdf"),
        ("x" * 300 + ".txt", "x" * 251 + ".txt"),
        ("..", "file"),
        ("", ""),
    ],
)
def test_a_name_is_only_ever_shown(chat: Chat, given: str, shown: str) -> None:
    file = save(chat, b"x", given)
    assert file.name == shown
    assert chat.files.path(file).name == file.id


def test_find_keeps_id_order_and_skips_unknown_ids(chat: Chat) -> None:
    first, second = save(chat, b"1"), save(chat, b"2")
    with chat.database.read() as connection:
        found = chat.files.find(connection, SCOPE, [second.id, "none", "a\0", first.id, second.id])
        assert chat.files.find(connection, SCOPE, []) == []
        assert chat.files.find(connection, Scope("door", "other"), [first.id]) == []
        assert chat.files.find(connection, Scope("door"), [first.id]) == [first]
    assert found == [second, first]


def test_files_are_listed_page_by_page(chat: Chat) -> None:
    files = [save(chat, b"x") for _ in range(3)]
    with chat.database.read() as connection:
        page = chat.files.list(connection, SCOPE, limit=2)
        rest = chat.files.list(connection, SCOPE, cursor=page.next, limit=2)
    assert [*page.items, *rest.items] == sorted(files, key=lambda file: (file.created_at, file.id))
    assert not rest.next


def test_a_deleted_file_is_gone_at_once_and_its_bytes_soon(chat: Chat, on_disk: Callable[[], list[bytes]]) -> None:
    gone, kept = save(chat, b"gone"), save(chat, b"kept")
    with chat.database.write() as connection:
        assert chat.files.delete(connection, SCOPE, gone.id)
        assert not chat.files.delete(connection, SCOPE, gone.id)
        assert not chat.files.delete(connection, SCOPE, "none")
        assert chat.files.get(connection, SCOPE, gone.id) is None
        assert chat.files.list(connection, SCOPE).items == [kept]
    assert chat.files.clean_up() == 1
    assert on_disk() == [b"kept"]
    assert rows(chat) == [kept.id]


def test_what_nobody_used_for_a_day_is_removed(room: Room, on_disk: Callable[[], list[bytes]]) -> None:
    chat = room.chat
    fresh, used, unused, shared = save(chat, b"fresh"), save(chat, b"used"), save(chat, b"x"), None
    shared = save(chat, b"shared", scope=Scope("door"))
    stranger = save(chat, b"stranger", scope=Scope("door", "other"))
    with chat.database.write() as connection:
        draft = Draft(room.ann.id, {}, files=[used.id, shared.id, stranger.id, "none"])
        chat.messages.post(connection, SCOPE, room.id, draft)
        old = sa.update(chat_files).where(chat_files.c.id != fresh.id).values(created_at=1)
        connection.execute(old)
        found = chat.files.get(connection, SCOPE, used.id)
        assert found is not None
        assert found.used_at is not None
    assert chat.files.clean_up() == 2
    assert on_disk() == [b"fresh", b"shared", b"used"]
    assert unused.id not in rows(chat)


def test_clean_up_processes_several_batches(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cometbot.chat.files._CLEAN_UP_BATCH_LIMIT", 2)
    for _ in range(5):
        file = save(chat)
        with chat.database.write() as connection:
            chat.files.delete(connection, SCOPE, file.id)
    assert chat.files.clean_up() == 5
    assert rows(chat) == []


def test_uploads_that_were_forgotten_are_removed_after_a_day(chat: Chat, on_disk: Callable[[], list[bytes]]) -> None:
    old, fresh = receive(chat, b"old"), receive(chat, b"fresh")
    os.utime(old.path, (time.time() - 90_000,) * 2)
    assert chat.files.clean_up() == 1
    assert on_disk() == [b"fresh"]
    fresh.discard()


def test_uncommitted_upload_is_removed_after_a_day(chat: Chat, on_disk: Callable[[], list[bytes]]) -> None:
    upload = receive(chat, b"orphan")
    fail_to_save(chat, upload)
    for path in (upload.path, upload.final_path):
        if path.exists():
            os.utime(path, (time.time() - 90_000,) * 2)
    assert chat.files.clean_up() == 1
    assert on_disk() == []


def test_a_crash_after_the_commit_loses_nothing(chat: Chat) -> None:
    upload = receive(chat, b"kept")
    with chat.database.write() as connection:
        file = chat.files.save(connection, SCOPE, upload, "ann")
        chat.messages._mark_files_used(connection, SCOPE, [file.id], 1)
    assert chat.files.path(file).read_bytes() == b"kept"

    os.utime(upload.path, (time.time() - 90_000,) * 2)
    assert chat.files.clean_up() == 0
    assert chat.files.path(file).read_bytes() == b"kept"
    assert chat.files.path(file) == upload.final_path


def test_bytes_that_cannot_be_moved_are_found_where_they_are(chat: Chat) -> None:
    upload = receive(chat, b"kept")
    upload.final_path.parent.parent.mkdir(parents=True, exist_ok=True)
    upload.final_path.parent.write_text("in the way")
    with chat.database.write() as connection:
        file = chat.files.save(connection, SCOPE, upload, "ann")
    upload.finalize()
    assert chat.files.path(file).read_bytes() == b"kept"


def test_files_of_removed_conversation_go_unless_shared(room: Room, on_disk: Callable[[], list[bytes]]) -> None:
    chat, owner = room.chat, room.conversation.owner
    alone, shared = save(chat, b"alone", owner=owner), save(chat, b"shared", owner=owner)
    strangers, apart = save(chat, b"strangers", owner="other"), save(chat, b"apart", owner=owner)
    with chat.database.write() as connection:
        other = chat.conversations.create(connection, SCOPE, owner)
        here = Draft(owner, {"a": [f"x/{file.id}.txt" for file in (alone, shared, strangers)]}, files=[alone.id])
        chat.messages._mark_files_used(connection, SCOPE, [shared.id, strangers.id, apart.id], 1)
        chat.messages.post(connection, SCOPE, room.id, here)
        chat.messages.post(connection, SCOPE, other.id, Draft(owner, {"b": shared.id}))
        assert chat.conversations.delete(connection, SCOPE, room.id)
    assert chat.files.clean_up() == 0
    with chat.database.write() as connection:
        connection.execute(sa.update(chat_files).values(created_at=1))
    assert chat.files.clean_up() == 1
    assert on_disk() == [b"apart", b"shared", b"strangers"]

    with chat.database.write() as connection:
        chat.conversations.delete(connection, SCOPE, other.id)
        connection.execute(sa.update(chat_files).values(created_at=1))
    assert chat.files.clean_up() == 1
    assert on_disk() == [b"apart", b"strangers"]


def test_clean_up_without_files_does_nothing(chat: Chat) -> None:
    assert chat.files.clean_up() == 0


def rows(chat: Chat) -> list[str]:
    with chat.database.read() as connection:
        return list(connection.execute(sa.select(chat_files.c.id)).scalars())
