"""Names of files that do no harm, and places that both sides agree on."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from cometbot.channels.simplex.files import FileRef, SharedFolder, make_safe_name
from cometbot.channels.simplex.models import File
from cometbot.channels.simplex.protocol import ChatRef
from cometbot.errors import MessageError, Rejected
from cometbot.models import Attachment


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ("März 2026.pdf", "März 2026.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\cmd.exe", "cmd.exe"),
        ("/etc/shadow", "shadow"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("..", "file"),
        ("", "file"),
        ("   ", "file"),
        ("///", "file"),
        ("a\0b\nc\x1b[2J.txt", "a_b_c_2J.txt"),
        ("$(rm -rf ~);`x`|y.sh", "rm -rf _x_y.sh"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a.tar.gz", "a.tar.gz"),
        ("x." + "e" * 50, "x." + "e" * 50),
        ("👍.png", "👍.png"),
        ("می\u200cخواهم.pdf", "می\u200cخواهم.pdf"),
    ],
)
def test_a_senders_name_becomes_one_that_does_no_harm(name: str, expected: str) -> None:
    assert make_safe_name(name) == expected


@pytest.mark.parametrize("name", ["ü" * 300 + ".jpg", "x" * 300, "." * 300, "👍" * 300 + ".png"])
def test_long_name_is_cut_before_extension(name: str) -> None:
    safe = make_safe_name(name)

    assert 0 < len(safe.encode()) <= 100
    assert Path(safe).suffix == (Path(name).suffix if name.strip(".") else "")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (5, FileRef(5)),
        ("simplex-file:5", FileRef(5)),
        ("simplex-file:5?size=9&name=a%20b.txt", FileRef(5, "a b.txt", 9)),
        ("simplex-file:5?size=x", FileRef(5)),
        (
            "simplex-file:5?chat=%2331%28_support%3A11%29&item=20",
            FileRef(5, "", 0, ChatRef("group", 31, "support", 11), 20),
        ),
        ("simplex-file:5?chat=%2Fsql&item=-1", FileRef(5)),
        (Attachment("simplex-file:5?size=9", "c.txt", size=7), FileRef(5, "c.txt", 7)),
        (Attachment("simplex-file:5?size=9&name=d.txt"), FileRef(5, "d.txt", 9)),
        (Attachment("simplex-file:5?chat=%404&item=7", "e.txt"), FileRef(5, "e.txt", 0, ChatRef("direct", 4), 7)),
        (File(file_id=5, name="e.txt", size=3), FileRef(5, "e.txt", 3)),
    ],
)
def test_a_file_is_named_by_its_attachment_its_url_or_its_number(
    file: Attachment | File | str | int, expected: FileRef
) -> None:
    assert FileRef.from_value(file) == expected


@pytest.mark.parametrize(
    "file", ["https://example.com/a.jpg", "simplex-file:", "simplex-file:0", "simplex-file:x", "5", True, None]
)
def test_what_names_no_file_is_refused(file: object) -> None:
    with pytest.raises(MessageError, match="url of an attachment"):
        FileRef.from_value(file)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> SharedFolder:
    return SharedFolder(PurePosixPath("/srv/cli"), tmp_path)


def test_the_same_file_gets_the_same_place_as_both_call_it(folder: SharedFolder, tmp_path: Path) -> None:
    assert folder.get_download_paths(FileRef(5, "../a.txt")) == ("/srv/cli/5-a.txt", tmp_path / "5-a.txt")


@pytest.mark.parametrize("path", ["a.txt", "/srv/cli/a.txt"])
def test_what_the_cli_names_is_found_here(folder: SharedFolder, tmp_path: Path, path: str) -> None:
    assert folder.to_local_path(path) == tmp_path / "a.txt"


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.txt", "/srv/cli/../a.txt", "/srv/cli2/a.txt"])
def test_a_place_outside_of_the_folder_is_refused(folder: SharedFolder, path: str) -> None:
    with pytest.raises(Rejected, match="SIMPLEX_FILES"):
        folder.to_local_path(path)


def test_a_file_of_ours_is_named_as_the_cli_sees_it(folder: SharedFolder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("x")

    assert folder.to_cli_path(f"{tmp_path}/out/a.txt") == "/srv/cli/out/a.txt"


def test_file_outside_shared_folder_is_refused(
    folder: SharedFolder, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.txt"
    elsewhere.write_text("x")
    (tmp_path / "link").symlink_to(elsewhere)

    for path, problem in ((elsewhere, "cannot see"), (tmp_path / "link", "cannot see"), (tmp_path, "does not exist"),
                          (tmp_path / "b", "does not exist")):  # fmt: skip
        with pytest.raises(Rejected, match=problem):
            folder.to_cli_path(str(path))


def test_on_one_machine_any_file_will_do(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.txt"
    elsewhere.write_text("x")

    assert SharedFolder(PurePosixPath(tmp_path), tmp_path).to_cli_path(str(elsewhere)) == str(elsewhere)


@pytest.mark.parametrize("name", ["Voil\u00e0", "\u0420", "x" * 94 + "\u00e0" * 9])
def test_a_name_ends_in_no_byte_that_the_cli_cuts(name: str) -> None:
    made = make_safe_name(name)
    assert made.encode()[-1] != 0xA0
    assert len(made.encode()) <= 100
    assert not make_safe_name(f"{name}.pdf").endswith("_.pdf")
