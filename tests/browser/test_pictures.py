"""A picture reaches the bot, however it is attached."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitor

# What a browser does when a file is dropped on, or pasted into, an element.
_BRING = """([how, encoded]) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "cat.png", { type: "image/png" }));
    const zone = document.querySelector(how === "drop" ? "#chat .messages" : "#composer-text");
    const options = { bubbles: true, cancelable: true };
    if (how === "paste") zone.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: data }));
    else for (const name of ["dragenter", "dragover", "drop"]) {
        zone.dispatchEvent(new DragEvent(name, { ...options, dataTransfer: data }));
    }
}"""


def bring(visitor: Visitor, how: str, picture: bytes) -> None:
    if how == "picker":
        file = {"name": "cat.png", "mimeType": "image/png", "buffer": picture}
        visitor.page.locator("#chat input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    else:
        visitor.page.evaluate(_BRING, [how, base64.b64encode(picture).decode()])


@pytest.mark.parametrize("how", ["picker", "drop", "paste"])
def test_a_picture_is_attached_and_the_bot_gets_it(visitor: Visitor, picture: bytes, how: str) -> None:
    bring(visitor, how, picture)
    expect(visitor.page.locator(".attached")).to_contain_text("cat.png")
    visitor.box.press("Enter")
    visitor.sees("Got cat.png")
    expect(visitor.page.get_by_role("img", name="cat.png")).to_have_js_property("naturalWidth", 2)
    expect(visitor.page.locator(".attached")).to_have_count(0)


def test_an_attached_picture_is_taken_away_again(visitor: Visitor, picture: bytes) -> None:
    bring(visitor, "picker", picture)
    visitor.page.get_by_role("button", name="Remove cat.png").click()
    visitor.say("nothing attached")
    visitor.sees("You said: nothing attached")
    expect(visitor.page.locator("#chat img")).to_have_count(0)
