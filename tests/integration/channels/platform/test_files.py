"""Uploads and downloads: limits by kind, types by content, names that open nothing, headers that let nothing run."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from cometbot import Bot, Context, Media, Message, Text
from cometbot.channels.base import IncomingEvent
from cometbot.channels.platform.channel import PlatformClient
from cometbot.channels.platform.ids import ALL_BOTS, conversation_of
from cometbot.channels.platform.parsing import parse
from cometbot.chat import files
from cometbot.errors import BotError
from cometbot.events import MessageEvent
from tests.integration.channels.platform.conftest import PNG, ApiClient, Person, Site

GIF = b"GIF89a" + b"\0" * 20
MP4 = b"\0\0\0\x18ftypmp42" + b"\0" * 40
OGG = b"OggS\0\x02" + b"\0" * 40
HTML = b"<!doctype html><script>alert(1)</script>"
ZIP = b"PK\x03\x04" + b"\0" * 30
OFFICE = "application/vnd.openxmlformats-officedocument"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def stored_paths(site: Site) -> list[str]:
    """What is in the folder for files."""
    folder = site.running.settings.data
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def multipart(*parts: bytes, end: bytes = b"--X--\r\n") -> dict[str, Any]:
    body = b"".join(b"--X\r\n" + part + b"\r\n" for part in parts) + end
    return {"data": body, "content_type": "multipart/form-data; boundary=X"}


def part(content: bytes, name: str = "file", filename: str = "p.png", kind: str = "image/png") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    return (head + (f"Content-Type: {kind}\r\n" if kind else "") + "\r\n").encode() + content


def to_event(message: dict[str, Any], person: Person) -> MessageEvent:
    """What a bot is told of ``message``."""
    user = {"id": person.id, "nickname": "Maria"}
    here = conversation_of("helpdesk", message["chatId"], person.id)
    body = orjson.dumps({"message": message, "user": user, "action": None})
    event = parse(IncomingEvent(here, f"message:{message['id']}", body, person.id), "")
    assert isinstance(event, MessageEvent)
    return event


def test_an_upload_answers_with_files_in_the_order_of_the_parts(maria: Person) -> None:
    answer = maria.upload(("p.png", PNG), ("song.ogg", OGG), ("notes.txt", b"hello"), ("film.mp4", MP4))

    assert answer.status_code == 200
    assert [{name: file[name] for name in ("name", "size", "mimeType")} for file in answer.json] == [
        {"name": "p.png", "size": len(PNG), "mimeType": "image/png"},
        {"name": "song.ogg", "size": len(OGG), "mimeType": "audio/ogg"},
        {"name": "notes.txt", "size": 5, "mimeType": "text/plain"},
        {"name": "film.mp4", "size": len(MP4), "mimeType": "video/mp4"},
    ]
    for file, (folder, extension) in zip(
        answer.json, [("images", "png"), ("audios", "ogg"), ("files", "txt"), ("videos", "mp4")], strict=True
    ):
        assert file["path"] == f"static/{folder}/{file['id']}.{extension}"


@pytest.mark.parametrize(
    ("name", "content", "folder", "extension", "mime_type"),
    [
        ("photo.jpeg", b"\xff\xd8\xff\xe0" + b"\0" * 30, "images", ".jpeg", "image/jpeg"),
        ("photo.exe", b"\xff\xd8\xff\xe0" + b"\0" * 30, "images", ".jpg", "image/jpeg"),
        ("page.png", HTML, "files", ".html", "text/html"),
        ("drawing.png", SVG, "files", ".svg", "image/svg+xml"),
        ("empty.png", b"", "files", "", "application/octet-stream"),
        ("../../etc/passwd", b"\0\1\2", "files", "", "application/octet-stream"),
        ("noname", b"%PDF-1.7", "files", ".pdf", "application/pdf"),
        ("a.docx", ZIP, "files", ".docx", f"{OFFICE}.wordprocessingml.document"),
        ("A.XLSX", ZIP, "files", ".xlsx", f"{OFFICE}.spreadsheetml.sheet"),
        ("a.odt", ZIP, "files", ".odt", "application/vnd.oasis.opendocument.text"),
        ("a.md", b"# Tea", "files", ".md", "text/markdown"),
        ("a.m4a", b"\0\0\0\x18ftypM4A " + b"\0" * 30, "audios", ".m4a", "audio/mp4"),
        ("a.tar.gz", b"\x1f\x8b\x08" + b"\0" * 30, "files", ".gz", "application/gzip"),
        ("a.log", b"it began", "files", ".log", "application/octet-stream"),
        ("a.png", ZIP, "files", ".zip", "application/zip"),
        ("a.html", b"just words", "files", ".txt", "text/plain"),
        ("a.p g", b"\0\1\2", "files", "", "application/octet-stream"),
    ],
)
def test_type_and_place_of_a_file_come_from_its_content(
    maria: Person, name: str, content: bytes, folder: str, extension: str, mime_type: str
) -> None:
    [file] = maria.upload((name, content)).json

    assert file["mimeType"] == mime_type
    assert file["path"] == f"static/{folder}/{file['id']}{extension}"
    assert file["name"] == name.rpartition("/")[2]


def test_sound_in_a_container_of_video_is_sound_to_everybody(maria: Person) -> None:
    tracks = b"\0\0\0\x2cmoov\0\0\0\x24trak\0\0\0\x1cmdia\0\0\0\x14hdlr" + b"\0" * 8 + b"soun"
    content = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42\0\0\x20\x08mdat" + b"\xff" * 0x2000 + tracks
    [file] = maria.upload(("rec.mp4", content)).json
    message = maria.send_message(maria.create_chat(), "listen", attachmentIds=[file["id"]])

    assert (file["mimeType"], file["path"]) == ("audio/mp4", f"static/audios/{file['id']}.mp4")
    assert to_event(message, maria).type == "audio"


def test_a_camera_file_is_a_file_to_everybody(maria: Person) -> None:
    [file] = maria.upload(("DSC_0001.NEF", b"MM\0*\0\0\0\x08" + b"\0" * 30)).json
    message = maria.send_message(maria.create_chat(), "look", attachmentIds=[file["id"]])

    assert (file["mimeType"], file["path"]) == ("image/x-nikon-nef", f"static/files/{file['id']}.nef")
    assert to_event(message, maria).type == "file"


@pytest.mark.parametrize("name", ["a.docx", "a.js", "a.md", "a.tar.gz", "a.log"])
def test_file_is_served_at_its_path_and_has_an_extension(site: Site, maria: Person, name: str) -> None:
    [file] = maria.upload((name, ZIP if name == "a.docx" else b"\x1f\x8b\x08" if "gz" in name else b"words")).json
    message = maria.send_message(maria.create_chat(), "here", attachmentIds=[file["id"]])
    [attachment] = to_event(message, maria).attachments

    assert attachment.extension == name.rpartition(".")[2]
    with site.anonymous.client.get(f"/{file['path']}") as answer:
        assert answer.status_code == 200


def test_untyped_part_is_accepted_and_fields_are_skipped(maria: Person) -> None:
    answer = maria.post(
        "client-api/files",
        **multipart(
            part(PNG, kind=""),
            b'Content-Disposition: form-data; name="file"\r\n\r\na text field called file',
            part(GIF, name="other", filename="g.gif"),
        ),
    )

    assert answer.status_code == 200
    assert [file["mimeType"] for file in answer.json] == ["image/png"]


NAMES = [
    "می\u200cخواهم.pdf",
    "👨\u200d👩\u200d👧 party.pdf",
    "Screenshot 2026-11-29 at 9.41.00\u202fAM.pdf",
    "日本\u3000太郎.pdf",
    "a\u00a0b.pdf",
    "Rechnung " + "x" * 127 + ".pdf",
]


@pytest.mark.parametrize("name", NAMES)
def test_name_that_people_use_comes_back_as_uploaded(site: Site, name: str) -> None:
    answer = site.sign_up().upload((name, b"%PDF-1.7"))

    assert [file["name"] for file in answer.json] == [name]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("big.png", PNG + b"\0" * 1000)], "Max allowed size for images are 200 bytes, but got 1069."),
        ([("big.m4a", MP4 + b"\0" * 300)], "Max allowed size for audios are 300 bytes, but got 352."),
        ([("big.ogg", OGG + b"\0" * 1000)], "Max allowed size for audios are 300 bytes, but got 1046."),
        ([("big.mp4", MP4 + b"\0" * 1000)], "Max allowed size for videos are 400 bytes, but got 1052."),
        ([("big.png", b"\0" * 1001)], "Max allowed size for files are 500 bytes, but got 1001."),
        ([("a.png", PNG), ("big.png", PNG * 3)], "Max allowed size for images are 200 bytes, but got 207."),
        ([(f"{number}.png", PNG) for number in range(4)], "Too many files, max allowed amount is 3."),
    ],
)
def test_upload_over_a_limit_stores_nothing(
    make_site: Callable[..., Site], files: list[tuple[str, bytes]], message: str
) -> None:
    limits = {"MAX_IMAGE_SIZE": "200", "MAX_AUDIO_SIZE": "300", "MAX_VIDEO_SIZE": "400", "MAX_FILE_SIZE": "500"}
    fields = {f"PLATFORM_LIMITS_FILE_{name}": value for name, value in limits.items()}
    site = make_site(platform_fields={**fields, "PLATFORM_LIMITS_MESSAGE_MAX_ATTACHED_FILES": "3"})
    answer = site.sign_up().upload(*files)

    assert (answer.status_code, answer.json) == (400, {"message": message})
    assert stored_paths(site) == []


def test_a_request_ten_times_the_limit_is_refused_as_too_large(make_site: Callable[..., Site]) -> None:
    kinds = ("IMAGE", "AUDIO", "VIDEO", "FILE")
    site = make_site(platform_fields={f"PLATFORM_LIMITS_FILE_MAX_{kind}_SIZE": "100000" for kind in kinds})
    answer = site.sign_up().post("client-api/files", **multipart(part(PNG + b"\0" * 1_000_000)))

    assert answer.status_code == 413
    assert "longer than" in answer.json["message"]
    assert stored_paths(site) == []


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"json": {}}, 400, "request has no multipart/form-data Content-Type"),
        ({"data": b"x", "content_type": "multipart/form-data"}, 400, "request has no multipart/form-data Content-Type"),
        (multipart(), 400, "No files found to upload."),
        (multipart(part(PNG, name="other")), 400, "No files found to upload."),
        (multipart(part(PNG), end=b""), 400, "The form is malformed or incomplete."),
        (multipart(part(PNG), end=b"--X\r\nContent-Dispo"), 400, "The form is malformed or incomplete."),
        (multipart(b"no head at all"), 400, "The form is malformed or incomplete."),
        (multipart(*[part(b"x")] * 1000), 400, "Too many files, max allowed amount is 10."),
        (
            multipart(*[part(b"x", name="other")] * 1000),
            413,
            "The form has too many parts, or one with too long a head.",
        ),
        (
            multipart(part(b"x", filename="x" * 500_000)),
            413,
            "The form has too many parts, or one with too long a head.",
        ),
    ],
    ids=range(10),
)
def test_malformed_upload_stores_nothing(
    site: Site, maria: Person, body: dict[str, Any], status: int, message: str
) -> None:
    answer = maria.call_api("POST", "client-api/files", **body)

    assert (answer.status_code, answer.json) == (status, {"message": message})
    assert stored_paths(site) == []


def test_an_upload_needs_somebody_who_is_logged_in_or_a_bots_key(site: Site) -> None:
    assert site.anonymous.upload(("p.png", PNG)).status_code == 401
    ghost = ApiClient(site.app.test_client(), "ghost:any")
    assert ghost.upload(("p.png", PNG), api="bot-api").json == {"message": "Invalid bot key."}
    assert stored_paths(site) == []


def test_a_user_keeps_no_more_than_there_is_room_for(make_site: Callable[..., Site]) -> None:
    site = make_site(platform_storage=2 * len(PNG))
    maria = site.sign_up()

    assert [maria.upload(("p.png", PNG)).status_code for _ in range(3)] == [200, 200, 413]
    assert len(stored_paths(site)) == 2
    assert site.sign_up("Tom").upload(("p.png", PNG)).status_code == 200


NO_ROOM = (507, {"message": "The file cannot be stored: the storage is full."})


def test_all_users_of_all_processes_share_one_limit(make_site: Callable[..., Site], tmp_path: Path) -> None:
    shared = {"database_url": f"sqlite:///{tmp_path}/shared.db", "storage": 2 * len(PNG)}
    first, second = make_site(**shared), make_site(**shared)
    assert first.sign_up().upload(("p.png", PNG)).status_code == 200
    assert second.sign_up("Tom").upload(("p.png", PNG)).status_code == 200

    for site in (first, second):
        answer = site.sign_up("Eve").upload(("p.png", PNG))
        assert (answer.status_code, answer.json) == NO_ROOM
        assert "COMETBOT_STORAGE" not in answer.text
    _, bot = first.external_bot()
    assert bot.upload(("p.png", PNG), api="bot-api").status_code == 507


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (errno.ENOSPC, 507, NO_ROOM[1]["message"]),
        (errno.EDQUOT, 507, NO_ROOM[1]["message"]),
        (errno.EIO, 503, "The file could not be written. Try again later."),
    ],
)
def test_failed_write_of_a_file_is_refused_with_its_cause(
    site: Site,
    maria: Person,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    status: int,
    words: str,
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "_copy", fail)
    for _ in range(2):
        answer = maria.upload(("p.png", PNG))
        assert (answer.status_code, answer.json) == (status, {"message": words})
    assert stored_paths(site) == []
    assert caplog.text.count(os.strerror(number)) == 1, "once a minute"


def test_disk_that_is_almost_full_takes_no_file(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site()
    maria = site.sign_up()
    monkeypatch.setattr(site.platform.chat.files, "_min_free", 10**15)
    for _ in range(3):
        answer = maria.upload(("p.png", PNG))
        assert (answer.status_code, answer.json) == NO_ROOM
    assert stored_paths(site) == []
    assert caplog.text.count("COMETBOT_FREE_SPACE") == 1, "once a minute"
    assert "cometbot_uploads_without_room_total 3.0" in site.app.test_client().get("/metrics").text

    with pytest.raises(BotError, match="bytes free"):
        PlatformClient(site.platform, "helpdesk").upload("p.png", PNG)


def test_media_is_inline_and_other_files_are_downloads(site: Site, maria: Person) -> None:
    ways = {"p.png": (PNG, "inline"), "page.html": (HTML, "attachment"), "x.svg": (SVG, "attachment")}
    ways |= {"a.js": (b"alert(1)", "attachment"), "a.css": (b"* {}", "attachment")}
    for name, (content, way) in ways.items():
        [file] = maria.upload((name, content)).json
        with site.anonymous.client.get(f"/{file['path']}") as answer:
            assert (answer.status_code, answer.data) == (200, content)
            assert answer.headers["Content-Disposition"].startswith(way)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("sandbox; default-src 'none'")
            assert ("'unsafe-inline'" in policy) == (name == "p.png"), (
                "browsers style their own page of a picture inline"
            )
            assert answer.content_type == ("application/octet-stream" if way == "attachment" else file["mimeType"])


@pytest.mark.parametrize(("name", "content"), [("film.mp4", MP4), ("song.ogg", OGG)])
def test_sound_and_video_may_load_themselves_and_nothing_else(
    site: Site, maria: Person, name: str, content: bytes
) -> None:
    [file] = maria.upload((name, content)).json
    with site.anonymous.client.get(f"/{file['path']}") as answer:
        policy = answer.headers["Content-Security-Policy"]

    assert policy == "sandbox allow-same-origin; default-src 'none'; media-src 'self'"


def test_a_player_may_ask_for_a_part_of_a_file(site: Site, maria: Person) -> None:
    [file] = maria.upload(("film.mp4", MP4)).json
    with site.anonymous.client.get(f"/{file['path']}", headers={"Range": "bytes=4-7"}) as answer:
        assert (answer.status_code, answer.data) == (206, b"ftyp")


def test_ranges_that_can_be_satisfied_are_not_refused(site: Site, maria: Person) -> None:
    [file] = maria.upload(("note.txt", b"0123456789")).json
    for header, status, content, described in (
        ("bytes=0-1,5-6", 200, b"0123456789", None),
        ("bytes=5-6,0-1", 200, b"0123456789", None),
        ("bytes=0-0,99-", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=one-two", 200, b"0123456789", None),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
    ):
        with site.anonymous.client.get(f"/{file['path']}", headers={"Range": header}) as answer:
            assert (answer.status_code, answer.data) == (status, content), header
            assert answer.headers.get("Content-Range") == described, header
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_range_behind_the_end_is_refused_with_the_size(site: Site, maria: Person) -> None:
    [file] = maria.upload(("note.txt", b"0123456789")).json
    for header in ("bytes=10-", "bytes=99-100", "bytes=-0"):
        answer = site.anonymous.client.get(f"/{file['path']}", headers={"Range": header})

        assert (answer.status_code, set(answer.json)) == (416, {"message"}), header
        assert answer.headers["Content-Range"] == "bytes */10"


def test_the_head_of_a_file_ignores_a_range(site: Site, maria: Person) -> None:
    [file] = maria.upload(("note.txt", b"0123456789")).json
    with site.anonymous.client.head(f"/{file['path']}", headers={"Range": "bytes=0-1"}) as answer:
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, "10")


def test_a_range_of_another_version_gets_the_whole_file(site: Site, maria: Person) -> None:
    [file] = maria.upload(("note.txt", b"0123456789")).json
    with site.anonymous.client.get(f"/{file['path']}") as answer:
        tag, changed = answer.headers["ETag"], answer.headers["Last-Modified"]
    for condition, status in ((tag, 206), (changed, 206), ('"other"', 200), ("Sat, 01 Jan 2000 00:00:00 GMT", 200)):
        headers = {"Range": "bytes=0-1", "If-Range": condition}
        with site.anonymous.client.get(f"/{file['path']}", headers=headers) as answer:
            assert answer.status_code == status, condition


def test_an_empty_file_is_whole_under_any_range(site: Site, maria: Person) -> None:
    [file] = maria.upload(("note.txt", b"")).json
    for header in ("bytes=0-", "bytes=-5"):
        with site.anonymous.client.get(f"/{file['path']}", headers={"Range": header}) as answer:
            assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.replace(".png", ".html"),
        lambda path: path.replace("images", "files"),
        lambda path: path.replace(".png", ""),
        lambda path: path.replace("static/images/", "static/images/..%2f"),
        lambda path: "static/images/00000000000000000000000000.png",
        lambda path: "static/images/%00.png",
    ],
)
def test_another_path_than_the_one_in_the_answer_opens_nothing(
    site: Site, maria: Person, change: Callable[[str], str]
) -> None:
    path = maria.upload(("p.png", PNG)).json[0]["path"]

    assert site.anonymous.client.get(f"/{change(path)}").status_code == 404


def test_a_file_that_was_removed_is_not_found(site: Site, maria: Person) -> None:
    [file] = maria.upload(("p.png", PNG)).json
    with site.platform.database.write() as connection:
        assert site.platform.chat.files.delete(connection, ALL_BOTS, file["id"])
    site.channel.refresh()
    answer = site.anonymous.client.get(f"/{file['path']}")

    assert (answer.status_code, answer.json) == (404, {"message": "There is no such file."})
    assert stored_paths(site) == []


def test_a_bots_code_downloads_and_uploads_files(site: Site, maria: Person) -> None:
    [file] = maria.upload(("p.png", PNG)).json
    client = site.channel.client("helpdesk")
    base = site.platform.settings.base_url
    url = client.upload("chart.gif", GIF)

    assert client.download(f"{base}/{file['path']}") == PNG
    assert client.download(url) == GIF
    with site.anonymous.client.get(url.removeprefix(base)) as answer:
        assert answer.data == GIF


def test_another_users_file_cannot_be_attached(site: Site, maria: Person) -> None:
    foreign = site.sign_up("Tom").upload(("p.png", PNG)).json[0]["id"]
    said = maria.send_message(maria.create_chat(), "mine", attachmentIds=[foreign])

    assert "attachments" not in said


def test_the_name_of_a_file_is_no_path(site: Site, maria: Person, tmp_path: Path) -> None:
    body = {"file": (io.BytesIO(PNG), "..\\..\\" + str(tmp_path / "evil.png"))}
    [file] = maria.post("client-api/files", data=body, content_type="multipart/form-data").json

    assert file["name"] == "evil.png"
    assert not (tmp_path / "evil.png").exists()


def test_files_are_found_whatever_the_working_directory_is(
    make_site: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    maria = make_site(data=Path("cometbot-data")).sign_up()
    (file,) = maria.upload(("p.png", PNG)).json
    monkeypatch.chdir("/")
    with maria.client.get(f"/{file['path']}") as answer:
        assert (answer.status_code, answer.data) == (200, PNG)
    assert maria.upload(("p.png", PNG)).status_code == 200
    assert (tmp_path / "cometbot-data" / "files").is_dir()


def make_sender() -> Bot:
    """A bot that sends files of its own, with a text before and behind."""
    bot = Bot("helpdesk")

    @bot.command("report")
    def report(ctx: Context) -> list[Message]:
        return [Text("here"), Media(data=PNG, name="Über.png", caption="The report"), Text("there")]

    @bot.command("files")
    def count(ctx: Context) -> str:
        sizes = [len(file.read()) for message in ctx.history(9) for file in message.attachments]
        return f"files of {sizes} bytes"

    return bot


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("public_url", ["", "https://chat.example.com"])
def test_file_of_a_bot_is_an_attachment(make_site: Callable[..., Site], joins: bool, public_url: str) -> None:
    maria = make_site(make_sender(), platform_join_replies=joins, public_url=public_url).sign_up()
    chat = maria.create_chat()
    maria.send_message(chat, "/report")
    said = ["The report\n\nthere"] if joins else ["The report", "there"]
    message = maria.wait_message(chat, said[0])
    maria.wait_message(chat, said[-1])

    (file,) = message["attachments"]
    assert (file["name"], file["size"], file["mimeType"]) == ("Über.png", len(PNG), "image/png")
    with maria.client.get(f"/{file['path']}") as answer:
        assert (answer.status_code, answer.data, answer.content_type) == (200, PNG, "image/png")
    assert maria.bodies(chat) == ["/report", "here", *said]

    maria.send_message(chat, "/files")
    maria.wait_message(chat, f"files of [{len(PNG)}] bytes")
