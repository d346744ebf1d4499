"""Texts that every channel takes, and file names as they are shown."""

from __future__ import annotations

import codecs

import pytest

from cometbot import Button, Card, Text
from cometbot.text import MAX_FILE_NAME_LENGTH, clean_file_name, decode_text, find_texts, replace_surrogates


@pytest.mark.parametrize(
    "name",
    [
        "photo.jpg",
        "می\u200cخواهم.pdf",
        "👨\u200d👩\u200d👧 party.png",
        "Screenshot 2026-11-29 at 9.41.00\u202fAM.png",
        "日本\u3000太郎.txt",
        "a\u00a0b.txt",
        "Rechnung " + "x" * 127 + ".pdf",
        "Rechnung " + "ж" * 140 + ".pdf",
        "שלום\u200f.txt",
        ".bashrc",
        "a.tar.gz",
        " padded .txt",
        "$(rm -rf ~);`x`.sh",
        "cafe\u0301.txt",
        "",
    ],
)
def test_name_that_people_use_stays_as_it_is(name: str) -> None:
    assert clean_file_name(name) == name


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\cmd.exe", "cmd.exe"),
        ("folder/", "folder"),
        ("..", "file"),
        ("../..", "file"),
        ("a/..\u202e", "file"),
        (".", "file"),
        ("///", "file"),
        ("\0", "file"),
        (" ", "file"),
        ("a\0b\r\nc\x1b[2J\x85\u2028\u2029.txt", "abc[2J.txt"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u2067a\u2069.txt", "a.txt"),
        ("half \ud83d.txt", "half \ufffd.txt"),
        ("x" * 5000 + ".jpeg", "x" * 250 + ".jpeg"),
        ("x" * 5000, "x" * 255),
        ("x." + "y" * 5000, "x." + "y" * 253),
    ],
)
def test_folders_and_controls_are_removed_from_a_name(name: str, clean: str) -> None:
    assert clean_file_name(name) == clean
    assert clean_file_name(clean) == clean
    assert len(clean) <= MAX_FILE_NAME_LENGTH


def test_surrogates_are_replaced_in_all_that_holds_texts() -> None:
    card = Card(
        title="a\ud83d", buttons=[Button("b\udc00")], metadata={"k\ud83d": ["\ud83d", {"x": ("\ud83d\ude00", 1)}]}
    )
    clean = replace_surrogates(card)

    assert clean.title == "a\ufffd"
    assert clean.buttons[0].label == "b\ufffd"
    assert clean.metadata == {"k\ufffd": ["\ufffd", {"x": ("😀", 1)}]}


def test_whole_texts_are_returned_as_they_are() -> None:
    message = Text("whole 😀", metadata={"a": [1, None, "b"]})

    assert replace_surrogates(message) is message


def test_texts_of_a_value_that_holds_itself_end() -> None:
    value: dict[str, object] = {"a": "b"}
    value["self"] = value

    assert sorted(find_texts(value)) == ["a", "b", "self"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_text_of_a_file_is_decoded_by_its_bytes(encoding: str) -> None:
    assert decode_text("Grüße für 5 €".encode(encoding)) == "Grüße für 5 €"


def test_text_without_an_order_mark_or_with_odd_bytes_is_still_text() -> None:
    assert decode_text(codecs.BOM_UTF16_BE + "Grüße".encode("utf-16-be")) == "Grüße"
    assert decode_text(b"") == ""
    assert decode_text(b"\x81\xff") == "\ufffdÿ"
