"""Files that bots send: each stored once, whole, and as long as its message is."""

from __future__ import annotations

import io
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from cometbot.errors import MessageError, StorageFull
from cometbot.messages import Media
from cometbot.store import sent_files as module
from cometbot.store.database import Database
from cometbot.store.erasure import Erasure
from cometbot.store.factory import database_from_url
from cometbot.store.file_contents import CHUNK_SIZE, ChunkContents, FileContents, FolderContents
from cometbot.store.sent_files import Said, SentFiles
from cometbot.store.tables import outbox, sent_chunks, sent_contents, sent_files

SAID = Said("m12", 0, 3, "fake/test/helpdesk/maria")
BASE = "https://bots.example.com"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    is_postgres = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if is_postgres else f"sqlite:///{tmp_path}/cometbot.db"
    made = database_from_url(url)
    made.open()
    yield made
    made.close()


@pytest.fixture(params=["folder", "chunks"])
def contents(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> FileContents:
    return FolderContents(tmp_path / "sent") if request.param == "folder" else ChunkContents(database)


@pytest.fixture
def files(database: Database, contents: FileContents) -> SentFiles:
    return SentFiles(database, contents, base_url=BASE, min_free=0)


def read(files: SentFiles, url: str) -> bytes | None:
    found = files.open_url(url)
    if found is None:
        return None
    with found[2] as content:
        return content.read()


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def count_contents(database: Database, tmp_path: Path) -> int:
    """Return how many contents are really there, in the folder or in the database."""
    on_disk = [path for path in (tmp_path / "sent").rglob("*") if path.is_file()]
    with database.read() as connection:
        in_database = connection.execute(sa.select(sent_chunks.c.digest).distinct()).all()
    return len(on_disk) + len(in_database)


def add_reply(database: Database, said: Said) -> None:
    """Store the row of the outbox that belongs to a file."""
    values = {**said._asdict(), "part": 0, "client_id": "c", "payload": "{}", "state": "sent", "created_at": 0}
    with database.write() as connection:
        connection.execute(sa.insert(outbox).values(**values))


@pytest.mark.parametrize("size", [1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE - 7])
def test_content_is_returned_byte_by_byte(files: SentFiles, size: int) -> None:
    content = os.urandom(size)

    media = files.store(Media(data=content, name="a.bin", caption="x"), SAID)

    assert (media.data, media.path, media.is_stored, media.caption) == (None, None, True, "x")
    assert (media.name, media.size, media.kind) == ("a.bin", size, "file")
    assert media.url.startswith(f"{BASE}/files/")
    assert read(files, media.url) == content


def test_any_part_of_a_content_can_be_read(files: SentFiles) -> None:
    content = os.urandom(2 * CHUNK_SIZE + 100)
    found = files.open_url(files.store(Media(data=content), SAID).url)
    assert found is not None
    with found[2] as opened:
        for _ in range(30):
            begin, size = random.randrange(len(content)), random.randrange(1, CHUNK_SIZE + 50)
            opened.seek(begin)
            assert opened.read(size) == content[begin : begin + size]
        assert (opened.seek(-4, io.SEEK_END), opened.read()) == (len(content) - 4, content[-4:])


def test_type_and_kind_are_those_of_the_content(files: SentFiles) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(20)
    media = files.store(Media(data=picture, name="chart.jpg"), SAID)
    assert (media.mime_type, media.kind, media.name) == ("image/png", "image", "chart.jpg")
    unnamed = files.store(Media(data=picture), replace_ordinal(4))
    assert unnamed.name == "image.png"
    document = files.store(Media(data=picture, kind="file"), replace_ordinal(5))
    assert document.kind == "file"


def replace_ordinal(ordinal: int) -> Said:
    return SAID._replace(ordinal=ordinal)


def test_a_second_run_stores_the_same_file_once(files: SentFiles, database: Database, tmp_path: Path) -> None:
    first = files.store(Media(data=b"same", name="a.txt"), SAID)
    second = files.store(Media(data=b"same", name="a.txt"), SAID)
    assert first == second
    assert (count(database, sent_files), count_contents(database, tmp_path)) == (1, 1)


def test_a_second_run_with_another_content_replaces_it(files: SentFiles, database: Database, tmp_path: Path) -> None:
    first = files.store(Media(data=b"first"), SAID)
    second = files.store(Media(data=b"second"), SAID)
    assert (read(files, first.url), read(files, second.url)) == (None, b"second")
    files.clean_up()
    assert (count(database, sent_files), count_contents(database, tmp_path)) == (1, 1)


def test_one_content_in_many_messages_is_stored_once(files: SentFiles, database: Database, tmp_path: Path) -> None:
    sent = [files.store(Media(data=b"price list"), replace_ordinal(number)) for number in range(20)]
    assert len({media.url for media in sent}) == 20
    assert (count(database, sent_files), count_contents(database, tmp_path)) == (20, 1)
    for media in sent[:-1]:
        assert files.revoke(media.url)
    files.clean_up()
    assert read(files, sent[0].url) is None
    assert read(files, sent[-1].url) == b"price list"


def test_a_revoked_address_leads_nowhere_and_its_content_goes(
    files: SentFiles, database: Database, tmp_path: Path
) -> None:
    media = files.store(Media(data=b"secret"), SAID)
    assert files.revoke(media.url)
    assert not files.revoke(media.url)
    assert read(files, media.url) is None
    assert files.clean_up() == 1
    assert count_contents(database, tmp_path) == 0
    assert (count(database, sent_contents), count(database, sent_files)) == (0, 0)
    again = files.store(Media(data=b"secret"), SAID)
    assert read(files, again.url) == b"secret"


def test_file_of_a_message_is_revoked_with_it(files: SentFiles) -> None:
    media = files.store(Media(data=b"x"), SAID)
    assert not files.revoke_said("m12", 0, 4)
    assert files.revoke_said("m12", 0, 3)
    assert read(files, media.url) is None


def test_erased_conversation_has_no_files(files: SentFiles, database: Database, tmp_path: Path) -> None:
    erased = files.store(Media(data=b"of maria"), SAID)
    kept = files.store(Media(data=b"of tom"), replace_ordinal(9)._replace(conversation_key="fake/test/helpdesk/tom"))
    with database.write() as connection:
        Erasure(database).erase(connection, [SAID.conversation_key])
    assert (read(files, erased.url), read(files, kept.url)) == (None, b"of tom")
    files.clean_up()
    assert count_contents(database, tmp_path) == 1


def test_a_file_whose_message_was_never_said_goes_after_a_day(
    files: SentFiles, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = files.store(Media(data=b"said"), SAID)
    unsaid = files.store(Media(data=b"never said"), replace_ordinal(4))
    add_reply(database, SAID)
    files.clean_up()
    assert read(files, unsaid.url) == b"never said"

    monkeypatch.setattr(module, "CHECK_AFTER", -1.0)
    files.clean_up()
    assert (read(files, said.url), read(files, unsaid.url)) == (b"said", None)
    with database.write() as connection:
        connection.execute(sa.delete(outbox))
    files.clean_up()
    assert read(files, said.url) == b"said"
    assert count_contents(database, tmp_path) == 1


def test_name_in_the_address_is_that_of_the_file(files: SentFiles) -> None:
    url = files.store(Media(data=b"x", name="a.txt"), SAID).url
    assert files.find(url.replace("a.txt", "b.txt")) is None
    assert files.find(url.replace(BASE, "")) is not None


def test_paths_that_cannot_be_sent_are_errors(files: SentFiles, database: Database, tmp_path: Path) -> None:
    empty, pipe = tmp_path / "empty.txt", tmp_path / "pipe"
    empty.write_bytes(b"")
    os.mkfifo(pipe)
    for path, text in (
        (tmp_path / "gone.txt", "No such file"),
        (empty, "is empty"),
        (pipe, "none"),
        (tmp_path, "none"),
    ):
        with pytest.raises(MessageError, match=text):
            files.store(Media(path=path), SAID)
    assert count(database, sent_files) == 0


def test_a_file_that_changes_while_it_is_read_is_an_error(
    files: SentFiles, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"one line\n")

    def copy(*given: object) -> tuple[str, int]:
        with path.open("ab") as file:
            file.write(b"another\n")
        return original(*given)  # type: ignore[arg-type]

    original = module._copy
    monkeypatch.setattr(module, "_copy", copy)
    with pytest.raises(MessageError, match="changed while it was read"):
        files.store(Media(path=path), SAID)
    assert count(database, sent_files) == 0


def test_storage_has_a_limit(database: Database, contents: FileContents, tmp_path: Path) -> None:
    files = SentFiles(database, contents, base_url=BASE, max_total=10, min_free=0)
    kept = files.store(Media(data=b"123456"), SAID)
    with pytest.raises(StorageFull, match="at most 10 bytes, got 12"):
        files.store(Media(data=b"abcdef"), replace_ordinal(4))
    with pytest.raises(StorageFull, match="in one"):
        files.store(Media(data=b"x" * 11), replace_ordinal(5))
    assert read(files, kept.url) == b"123456"
    assert count_contents(database, tmp_path) == 1


def test_a_full_disk_stores_nothing(database: Database, tmp_path: Path) -> None:
    files = SentFiles(database, FolderContents(tmp_path / "sent"), min_free=1 << 60)
    with pytest.raises(StorageFull, match="bytes free"):
        files.store(Media(data=b"x"), SAID)
    assert count(database, sent_files) == 0


def test_files_are_private_and_leave_nothing_behind(database: Database, tmp_path: Path) -> None:
    files = SentFiles(database, FolderContents(tmp_path / "sent"), min_free=0)
    files.store(Media(data=b"x"), SAID)
    found = [path for path in (tmp_path / "sent").rglob("*") if path.is_file()]
    assert [oct(path.stat().st_mode & 0o777) for path in found] == ["0o600"]
    assert list((tmp_path / "sent" / "coming").iterdir()) == []


def test_processes_store_the_same_content_at_once(database: Database, contents: FileContents, tmp_path: Path) -> None:
    content, errors = os.urandom(3 * CHUNK_SIZE), []
    stop = threading.Event()

    def send(number: int) -> None:
        own = SentFiles(database, contents, base_url=BASE, min_free=0)
        try:
            for again in range(5):
                media = own.store(Media(data=content), replace_ordinal(100 * number + again))
                assert read(own, media.url) == content
                own.revoke(media.url)
            own.store(Media(data=content), replace_ordinal(1000 + number))
        except BaseException as error:
            errors.append(error)

    def clean() -> None:
        own = SentFiles(database, contents, base_url=BASE, min_free=0)
        while not stop.is_set():
            own.clean_up()

    senders = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    cleaner = threading.Thread(target=clean)
    for thread in (cleaner, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    stop.set()
    cleaner.join()

    assert errors == []
    files = SentFiles(database, contents, base_url=BASE, min_free=0)
    files.clean_up()
    assert (count(database, sent_files), count_contents(database, tmp_path)) == (4, 1)


def test_other_machines_read_what_one_has_stored(database: Database) -> None:
    stored = SentFiles(database, ChunkContents(database), base_url=BASE).store(Media(data=b"x"), SAID)
    assert read(SentFiles(database, ChunkContents(database), base_url=BASE), stored.url) == b"x"


def test_stored_message_can_be_changed_like_any_other(files: SentFiles) -> None:
    media = files.store(Media(data=b"x"), SAID)
    assert replace(media, caption="new").url == media.url
