"""A picture reaches the bot, however it is attached."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

from tests.browser.conftest import Visit, Visitor
from tests.browser.engine import Need, expect, needs

# What a browser does when a file is dropped on, or pasted into, an element.
_ATTACH = """([how, encoded]) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "cat.png", { type: "image/png" }));
    const zone = document.querySelector(how === "drop" ? "#chat .messages" : "#composer-text");
    const options = { bubbles: true, cancelable: true };
    const paste = new ClipboardEvent("paste", options);
    Object.defineProperty(paste, "clipboardData", { value: data }); // Firefox has no such option
    if (how === "paste") zone.dispatchEvent(paste);
    else for (const name of ["dragenter", "dragover", "drop"]) {
        zone.dispatchEvent(new DragEvent(name, { ...options, dataTransfer: data }));
    }
}"""


def attach_picture(visitor: Visitor, how: str, picture: bytes) -> None:
    if how == "picker":
        file = {"name": "cat.png", "mimeType": "image/png", "buffer": picture}
        visitor.page.locator("#chat input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    else:
        visitor.page.evaluate(_ATTACH, [how, base64.b64encode(picture).decode()])


@pytest.mark.parametrize("how", ["picker", "drop", "paste"])
def test_a_picture_is_attached_and_the_bot_gets_it(visitor: Visitor, picture: bytes, how: str) -> None:
    attach_picture(visitor, how, picture)
    expect(visitor.page.locator(".attached")).to_contain_text("cat.png")
    visitor.composer.press("Enter")
    visitor.expect_text("Got cat.png")
    expect(visitor.page.get_by_role("img", name="cat.png")).to_have_js_property("naturalWidth", 2)
    expect(visitor.page.locator(".attached")).to_have_count(0)


def test_an_attached_picture_is_taken_away_again(visitor: Visitor, picture: bytes) -> None:
    attach_picture(visitor, "picker", picture)
    visitor.page.get_by_role("button", name="Remove cat.png").click()
    visitor.send_text("nothing attached")
    visitor.expect_text("You said: nothing attached")
    expect(visitor.page.locator("#chat img")).to_have_count(0)


_DISTANCE = """() => {
    const list = document.querySelector("#chat .messages");
    return list.scrollHeight - list.scrollTop - list.clientHeight;
}"""
_SHOWN = """count => {
    const pictures = [...document.querySelectorAll("#chat .messages img")];
    return pictures.length === count && pictures.at(-1).complete && pictures.at(-1).naturalHeight > 2;
}"""
_RESTED = "() => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 300))"


def large_picture() -> bytes:
    """A PNG that is higher than a phone's screen is wide."""
    size = (500, 600)
    rows = (b"\0" + bytes(3 * size[0])) * size[1]
    parts = ((b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def expect_scrolled_to_end(visitor: Visitor, pictures: int) -> None:
    visitor.page.wait_for_function(_SHOWN, arg=pictures)
    visitor.page.evaluate(_RESTED)
    assert visitor.page.evaluate(_DISTANCE) < 2
    expect(visitor.page.locator("#chat .unseen")).to_be_hidden()


def test_end_stays_visible_while_pictures_load(visit: Visit) -> None:
    visitor = visit(width=390)
    url = visitor.dev.file_url("large.png", large_picture(), "image/png")
    file = {"url": url, "name": "large.png", "mimeType": "image/png", "extension": "png"}
    for _ in range(3):
        visitor.bot_sends("message", "image", {"attachments": [file]})
    expect_scrolled_to_end(visitor, 3)
    for _ in range(3):
        visitor.reload()
        expect_scrolled_to_end(visitor, 3)
    for pictures in (4, 5, 6):
        attach_picture(visitor, "paste", large_picture())
        visitor.composer.press("Enter")
        expect(visitor.page.locator("#chat .message.other", has_text="Got cat.png")).to_have_count(pictures - 3)
        expect_scrolled_to_end(visitor, pictures)


def test_growth_before_a_scroll_event_is_not_scrolling_back(visitor: Visitor) -> None:
    visitor.bot_sends("message", "text", {"text": "\n\n".join(f"Line {number}" for number in range(60))})
    visitor.expect_text("Line 59")
    visitor.page.evaluate(
        """() => {
            const list = document.querySelector("#chat .messages");
            list.querySelector(".message").style.paddingBottom = "900px";
            list.dispatchEvent(new Event("scroll"));
        }"""
    )
    visitor.bot_sends("message", "text", {"text": "And then"})
    visitor.expect_text("And then")
    assert visitor.page.evaluate(_DISTANCE) < 2


@needs(Need.WHEEL)
def test_who_reads_further_up_stays_there(visitor: Visitor) -> None:
    visitor.bot_sends("message", "text", {"text": "\n\n".join(f"Line {number}" for number in range(60))})
    visitor.expect_text("Line 59").hover()
    visitor.page.mouse.wheel(0, -500)
    visitor.page.wait_for_function(f"() => ({_DISTANCE})() > 400")
    visitor.page.evaluate(_RESTED)
    before = visitor.page.evaluate("document.querySelector('#chat .messages').scrollTop")
    visitor.bot_sends("message", "text", {"text": "Something new"})
    visitor.page.get_by_role("button", name="New messages").wait_for()
    assert visitor.page.evaluate("document.querySelector('#chat .messages').scrollTop") == before
    visitor.page.get_by_role("button", name="New messages").click()
    visitor.page.evaluate(_RESTED)
    assert visitor.page.evaluate(_DISTANCE) < 2
