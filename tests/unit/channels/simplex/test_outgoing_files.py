"""Files from the web: brought to where the CLI sees them, sent as what they are, gone when they are uploaded."""

from __future__ import annotations

import io
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pytest

from cometbot.channels.simplex import media, outgoing_files
from cometbot.channels.simplex.files import SharedFolder
from cometbot.channels.simplex.media import make_video_preview
from cometbot.channels.simplex.outgoing_files import MAX_ATTEMPTS, OutgoingFiles, PreparedFile
from cometbot.channels.simplex.protocol import Record
from cometbot.channels.simplex.protocol.contents import PLACEHOLDER_IMAGE, file_content, image_content, video_content
from cometbot.errors import NotFound, OutcomeUnknown, Rejected
from cometbot.testing.simplex.web import MadeUpWeb, make_file

URL = "https://example.com/a/photo.jpg"


@pytest.fixture
def web() -> MadeUpWeb:
    return MadeUpWeb()


@pytest.fixture
def folder(tmp_path: Path) -> SharedFolder:
    return SharedFolder(PurePosixPath("/srv/cli"), tmp_path)


@pytest.fixture
def files(web: MadeUpWeb, folder: SharedFolder) -> OutgoingFiles:
    return OutgoingFiles(web, folder, 100_000)


def prepare_file(files: OutgoingFiles, url: str = URL, key: str = "k", **more: str) -> PreparedFile:
    return files.prepare(key, {"url": url, "kind": "", "name": "", **more}, 20)


def remaining_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").rglob("*") if path.is_file())


def uploaded(path: str, tag: str = "sndFileCompleteXFTP") -> Record:
    transfer = {"fileId": 7, "fileName": "photo.jpg", "filePath": path, "fileSize": 1}
    return Record(tag, {"type": tag, "fileTransferMeta": {**transfer, "chunkSize": 1, "cancelled": False}})


@pytest.mark.parametrize(
    ("url", "content", "name"),
    [
        (URL, {"type": "image"}, "photo.jpg"),
        ("https://example.com/a.PNG", {"type": "image"}, "a.PNG"),
        ("https://example.com/song.mp3", {"type": "voice", "duration": 2}, "song.mp3"),
        ("https://example.com/note.m4a", {"type": "voice", "duration": 2}, "note.m4a"),
        ("https://example.com/film.mp4", {"type": "video", "duration": 2}, "film.mp4"),
        ("https://example.com/paper.pdf", {"type": "file"}, "paper.pdf"),
        ("https://example.com/read.txt", {"type": "file"}, "read.txt"),
        ("https://example.com/", {"type": "file"}, "file"),
    ],
)
def test_a_file_is_what_its_bytes_are(
    files: OutgoingFiles, folder: SharedFolder, url: str, content: dict[str, Any], name: str
) -> None:
    brought = prepare_file(files, url)

    assert content.items() <= brought.content.items()
    assert brought.content["text"] == ""
    assert (brought.content.get("image") or "data:image/jpg").startswith("data:image/jpg")
    assert (brought.path.name, remaining_files(folder.local_path)) == (name, [name])
    assert folder.to_cli_path(str(brought.path)) == f"/srv/cli/out/{brought.path.parent.name}/{name}"


@pytest.mark.parametrize(
    ("name", "content", "kind", "shown"),
    [
        ("photo.jpg", b"no picture", "image", ("file", "photo.jpg")),
        ("photo.jpg", b"\xff\xd8\xff broken", "image", ("file", "photo.jpg")),
        ("photo", make_file("a.png"), "", ("image", "photo.png")),
        ("photo.exe", make_file("a.png"), "", ("image", "photo.exe.png")),
        ("photo.jpg", make_file("a.jpg"), "file", ("file", "photo.jpg")),
        ("a.svg", b"<svg><script>x</script></svg>", "image", ("file", "a.svg")),
        ("a.ogg", b"OggS" + bytes(100), "audio", ("file", "a.ogg")),
        ("a.mp3", b"ID3" + bytes(100), "audio", ("file", "a.mp3")),
        ("a.webm", b"\x1a\x45\xdf\xa3webm", "video", ("file", "a.webm")),
        ("../../.bashrc", b"text", "", ("file", "bashrc")),
    ],
)
def test_a_name_or_a_wish_makes_no_other_file_of_it(
    files: OutgoingFiles, web: MadeUpWeb, name: str, content: bytes, kind: str, shown: tuple[str, str]
) -> None:
    web.files[URL] = content
    brought = prepare_file(files, name=name, kind=kind)

    assert (brought.content["type"], brought.path.name) == shown


def test_a_long_sound_is_no_voice_message(files: OutgoingFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_VOICE_SECONDS", 1)

    assert prepare_file(files, "https://example.com/song.mp3").content["type"] == "file"


def test_file_is_downloaded_once(files: OutgoingFiles, web: MadeUpWeb) -> None:
    assert prepare_file(files) == prepare_file(files)
    assert prepare_file(files, key="other").path != prepare_file(files).path
    assert web.asked == [URL, URL]


@pytest.mark.parametrize("tag", ["sndFileCompleteXFTP", "sndFileError"])
@pytest.mark.parametrize("is_early", [True, False])
def test_it_is_removed_when_its_upload_ends(
    files: OutgoingFiles, folder: SharedFolder, tmp_path: Path, tag: str, is_early: bool
) -> None:
    path = folder.to_cli_path(str(prepare_file(files).path))
    files.handle_event(uploaded(f"{path}x/photo.jpg", tag))
    assert remaining_files(tmp_path) == ["photo.jpg"], "another file's end"
    ends: list[Callable[[], None]] = [lambda: files.mark_sent("k"), lambda: files.handle_event(uploaded(path, tag))]
    for end in reversed(ends) if is_early else ends:
        end()

    assert remaining_files(tmp_path) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_upload_of_earlier_process_is_removed_by_path(
    files: OutgoingFiles, folder: SharedFolder, web: MadeUpWeb, tmp_path: Path
) -> None:
    brought = prepare_file(files)
    (tmp_path / "5-received.txt").write_text("stays")
    later = OutgoingFiles(web, folder, 100)
    for path in ("/srv/cli/5-received.txt", "/etc/passwd", folder.to_cli_path(str(brought.path))):
        later.handle_event(uploaded(path))

    assert remaining_files(tmp_path) == []
    assert (tmp_path / "5-received.txt").exists()


@pytest.mark.parametrize("raw", [{}, {"fileTransferMeta": None}, {"fileTransferMeta": {"filePath": 7}}])
def test_an_event_that_cannot_be_read_does_no_harm(files: OutgoingFiles, raw: dict[str, Any]) -> None:
    files.handle_event(Record("sndFileCompleteXFTP", {"type": "sndFileCompleteXFTP", **raw}))
    files.handle_event(Record("newChatItems", {}))


def test_failed_download_leaves_no_files(files: OutgoingFiles, web: MadeUpWeb, tmp_path: Path) -> None:
    web.files |= {URL: None, "https://example.com/large.txt": b"x" * 100_001}
    with pytest.raises(NotFound):
        prepare_file(files)
    with pytest.raises(Rejected, match="limit is 100000"):
        prepare_file(files, "https://example.com/large.txt", "other")

    assert remaining_files(tmp_path) == []
    web.files.clear()
    assert prepare_file(files).content["type"] == "image"


class Failing(MadeUpWeb):
    """Raises ``error`` at first."""

    def __init__(self, error: Exception, times: int = 100) -> None:
        super().__init__()
        self.error, self.times = error, times

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        self.times -= 1
        if self.times >= 0:
            raise self.error
        return super().fetch(url, to, limit=limit, timeout=timeout)


def test_what_may_pass_is_tried_again(tmp_path: Path) -> None:
    files = OutgoingFiles(Failing(OutcomeUnknown("503"), 2), SharedFolder(PurePosixPath(tmp_path), tmp_path), 100_000)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="503"):
            prepare_file(files)

    assert prepare_file(files).content["type"] == "image"


def test_what_never_passes_is_given_up(tmp_path: Path) -> None:
    files = OutgoingFiles(Failing(OutcomeUnknown("503")), SharedFolder(PurePosixPath(tmp_path), tmp_path), 100_000)
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(OutcomeUnknown, match="503"):
            prepare_file(files)

    with pytest.raises(Rejected, match="in 4 attempts: 503"):
        prepare_file(files)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("unforeseen")])
def test_a_disk_that_is_full_is_no_reason_to_wait(tmp_path: Path, error: Exception) -> None:
    files = OutgoingFiles(Failing(error), SharedFolder(PurePosixPath(tmp_path), tmp_path), 100_000)

    with pytest.raises(Rejected):
        prepare_file(files)


class Slow(MadeUpWeb):
    """Loads when ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        assert self.go.wait(20)
        return super().fetch(url, to, limit=limit, timeout=timeout)


def test_slow_download_does_not_block_others(tmp_path: Path) -> None:
    web = Slow()
    files = OutgoingFiles(web, SharedFolder(PurePosixPath(tmp_path), tmp_path), 100_000)
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(OutcomeUnknown, match="still downloading"):
            files.prepare("k", {"url": URL}, 0.01)
    web.go.set()

    assert prepare_file(files).content["type"] == "image"
    assert web.asked == [URL]


def test_so_many_are_loaded_at_once_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing_files, "_MAX_DOWNLOADS", 2)
    web = Slow()
    files = OutgoingFiles(web, SharedFolder(PurePosixPath(tmp_path), tmp_path), 100_000)
    for key in ("a", "b", "c"):
        with pytest.raises(OutcomeUnknown, match="2 others" if key == "c" else "still"):
            files.prepare(key, {"url": URL}, 0)
    web.go.set()

    for key in ("a", "b", "c"):
        prepare_file(files, key=key)


def test_a_file_that_somebody_removed_is_loaded_again(files: OutgoingFiles, web: MadeUpWeb) -> None:
    prepare_file(files).path.unlink()

    assert prepare_file(files).path.is_file()
    assert web.asked == [URL, URL]


def test_unused_files_are_deleted_after_a_day(files: OutgoingFiles, tmp_path: Path) -> None:
    files.delete_expired()
    old, new = prepare_file(files).path, prepare_file(files, key="new").path
    os.utime(old.parent, (0, time.time() - 25 * 3600))
    files.delete_expired()

    assert not old.parent.exists()
    assert new.exists()


def test_link_preview_leaves_no_files(files: OutgoingFiles, web: MadeUpWeb, tmp_path: Path) -> None:
    assert files.make_link_preview(URL, 5).startswith("data:image/jpg;base64,")
    web.files |= {URL: None, "https://example.com/a.png": b"no picture"}

    assert files.make_link_preview(URL, 5) == files.make_link_preview("https://example.com/a.png", 5) == ""
    assert list(tmp_path.iterdir()) == []


def test_local_file_without_preview_gets_one(files: OutgoingFiles, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(make_file("cat.jpg"))
    bare = image_content("A cat", PLACEHOLDER_IMAGE)

    filled = files.add_preview(bare, str(tmp_path / "cat.jpg"))
    assert filled["image"].startswith("data:image/jpg;base64,/9j/")
    assert filled["text"] == "A cat"
    assert files.add_preview(video_content("", PLACEHOLDER_IMAGE, 2), "/nowhere.mp4")["image"] == make_video_preview()
    for content, path in [
        (image_content("", "data:image/jpg;base64,AA"), str(tmp_path / "cat.jpg")),
        (file_content(), str(tmp_path / "cat.jpg")),
        (bare, "/nowhere.jpg"),
        (image_content("x" * 15_400, PLACEHOLDER_IMAGE), str(tmp_path / "cat.jpg")),
    ]:
        assert files.add_preview(content, path) == content


def test_a_file_for_the_cli_has_the_access_of_their_folder(files: OutgoingFiles, tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    path = prepare_file(files).path
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent, path.parent.parent)]
    assert modes == [0o660, 0o770, 0o770]


class OwnFiles:
    """The files of this server, by their addresses."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    def open_url(self, url: str) -> tuple[str, int, BinaryIO] | None:
        name = url.rpartition("/")[2]
        content = self.files.get(name.partition(".")[0])
        return None if content is None else (name, len(content), io.BytesIO(content))


def test_own_files_are_not_fetched_from_the_web(files: OutgoingFiles, web: MadeUpWeb) -> None:
    files.attach_files(OwnFiles(chart=make_file("chart.png")))
    prepared = prepare_file(files, "/files/token/chart.png", name="Sales.png")
    assert (prepared.path.name, prepared.path.read_bytes()) == ("Sales.png", make_file("chart.png"))
    assert prepared.content["type"] == "image"
    assert web.asked == []
    prepare_file(files, URL, key="other")
    assert web.asked == [URL]


def test_own_file_over_the_limit_is_refused(files: OutgoingFiles) -> None:
    files.attach_files(OwnFiles(big=b"x" * 100_001))
    with pytest.raises(Rejected, match="100001 bytes, and the limit is 100000"):
        prepare_file(files, "/files/token/big.bin")
