"""Pictures, sounds, videos and other files, however they are attached."""

from __future__ import annotations

import base64
import re
import struct

import pytest
from playwright.sync_api import Route

from tests.browser.engine import Need, expect, needs
from tests.browser.media_files import RECORD_FILM, WAV
from tests.browser.webchat.conftest import Guest

# What a browser does when a file is dropped on, or pasted into, an element.
_ATTACH = """([how, encoded]) => {
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "cat.png", { type: "image/png" }));
    const zone = document.querySelector(how === "drop" ? ".messages" : "#composer-text");
    const options = { bubbles: true, cancelable: true };
    const paste = new ClipboardEvent("paste", options);
    Object.defineProperty(paste, "clipboardData", { value: data }); // Firefox has no such option
    if (how === "paste") zone.dispatchEvent(paste);
    else for (const name of ["dragenter", "dragover", "drop"]) {
        zone.dispatchEvent(new DragEvent(name, { ...options, dataTransfer: data }));
    }
}"""
# The head of a film without any content, which no browser plays.
MP4 = struct.pack(">I", 24) + b"ftypisom" + struct.pack(">I", 512) + b"isommp42" + struct.pack(">I", 8) + b"free"
MP3 = (bytes.fromhex("fffb9064") + bytes(413)) * 40
"""A second of silence: frames of 128 kbit/s without any content."""


def console_errors_of(guest: Guest) -> list[str]:
    """Return the complaints so far, without those about this test's scripts, which a file's sandbox refuses too."""
    guest.page.wait_for_timeout(0)  # what has been said meanwhile arrives
    return [
        console_error
        for console_error in guest.console_errors
        if not console_error.startswith("Blocked script execution")
    ]


def attach(guest: Guest, name: str, mime_type: str, content: bytes) -> None:
    file = {"name": name, "mimeType": mime_type, "buffer": content}
    guest.page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["picker", "drop", "paste"])
def test_a_picture_is_attached_shown_and_the_bot_gets_it(guest: Guest, picture: bytes, how: str) -> None:
    if how == "picker":
        attach(guest, "cat.png", "image/png", picture)
    else:
        guest.page.evaluate(_ATTACH, [how, base64.b64encode(picture).decode()])
    expect(guest.page.locator(".attached")).to_contain_text("cat.png")
    guest.send_text("Look")
    guest.expect_text("Got cat.png (image/png)")
    expect(guest.own_messages.get_by_role("img", name="cat.png")).to_have_js_property("naturalWidth", 2)
    expect(guest.own_messages).to_contain_text("Look")
    expect(guest.page.locator(".attached")).to_have_count(0)
    guest.reload()
    expect(guest.own_messages.get_by_role("img", name="cat.png")).to_have_js_property("naturalWidth", 2)


@needs(Need.ROUTES)
def test_upload_shows_progress_and_delays_the_message(guest: Guest, picture: bytes) -> None:
    held: list[Route] = []
    guest.page.route("**/v1/client-api/files", lambda route: held.append(route))
    attach(guest, "cat.png", "image/png", picture)
    expect(guest.page.get_by_role("progressbar", name="Uploading cat.png")).to_be_visible()
    guest.send_text("Here")
    expect(guest.own_messages).to_have_count(0)
    held[0].continue_()
    guest.expect_text("Got cat.png")
    expect(guest.own_messages).to_have_count(1)


def test_an_attached_picture_is_taken_away_again(guest: Guest, picture: bytes) -> None:
    attach(guest, "cat.png", "image/png", picture)
    guest.page.get_by_role("button", name="Remove cat.png").click()
    guest.send_text("nothing attached")
    guest.expect_text("You said: nothing attached")
    expect(guest.own_messages.locator("img")).to_have_count(0)


@needs(Need.ROUTES)
def test_an_upload_that_fails_says_so_and_is_tried_again(guest: Guest, picture: bytes) -> None:
    guest.page.route("**/v1/client-api/files", lambda route: route.abort(), times=1)
    attach(guest, "cat.png", "image/png", picture)
    expect(guest.page.locator(".attached")).to_contain_text("no connection")
    guest.send_text("Look")
    expect(guest.own_messages).to_have_count(0)
    expect(guest.composer).to_have_value("Look")
    guest.page.get_by_role("button", name="Send again").click()
    expect(guest.page.locator(".attached.bad")).to_have_count(0)
    guest.composer.press("Enter")
    guest.expect_text("Got cat.png")


def test_too_large_or_empty_file_is_not_uploaded(guest: Guest) -> None:
    attach(guest, "big.png", "image/png", b"x" * 100_001)
    guest.expect_notice("big.png is too large: 98 KB at most")
    attach(guest, "empty.txt", "text/plain", b"")
    guest.expect_notice("empty.txt is empty")
    expect(guest.page.locator(".attached")).to_have_count(0)


def test_what_the_platform_refuses_says_why_at_the_file(guest: Guest) -> None:
    # Its bytes are those of a picture, so the limit of pictures counts, whatever it is called.
    attach(guest, "notes.txt", "text/plain", b"\x89PNG\r\n\x1a\n" + b"\0" * 120_000)
    expect(guest.page.locator(".attached.bad")).to_contain_text("100000")


def test_no_more_files_are_attached_than_a_message_may_have(guest: Guest, picture: bytes) -> None:
    files = [{"name": f"{number}.png", "mimeType": "image/png", "buffer": picture} for number in range(11)]
    guest.page.locator("input[type=file]").set_input_files(files)  # type: ignore[arg-type]
    expect(guest.page.locator(".attached")).to_have_count(10)
    guest.expect_notice("10 files at most")


@needs(Need.DOWNLOADS)
def test_media_has_a_player_and_other_files_a_link(guest: Guest) -> None:
    attach(guest, "beep.wav", "audio/wav", WAV)
    guest.composer.press("Enter")
    player = guest.own_messages.locator("audio")
    expect(player).to_have_attribute("aria-label", "beep.wav")
    guest.page.wait_for_function("() => document.querySelector('.own audio').duration > 0")
    attach(guest, "clip.webm", "video/webm", bytes(guest.page.evaluate(RECORD_FILM)))
    guest.composer.press("Enter")
    expect(guest.own_messages.locator("video[controls]")).to_have_attribute("aria-label", "clip.webm")
    guest.page.wait_for_function("() => document.querySelector('.own video').videoWidth > 0")
    attach(guest, "notes.txt", "text/plain", b"some notes\n" * 200)
    guest.composer.press("Enter")
    link = guest.own_messages.get_by_role("link", name=re.compile("notes.txt"))
    expect(link).to_contain_text("2 KB")
    with guest.page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "notes.txt"


def test_film_that_cannot_be_played_is_there_to_download(guest: Guest) -> None:
    attach(guest, "clip.mp4", "video/mp4", MP4)
    guest.composer.press("Enter")
    expect(guest.own_messages.get_by_role("link", name=re.compile("clip.mp4"))).to_be_visible()
    expect(guest.own_messages.locator("video")).to_have_count(0)


@needs(Need.POPUPS)
def test_a_picture_opens_in_a_tab_of_its_own_without_a_complaint(guest: Guest, picture: bytes) -> None:
    attach(guest, "cat.png", "image/png", picture)
    guest.composer.press("Enter")
    with guest.page.expect_popup() as popup:
        guest.own_messages.get_by_role("img", name="cat.png").click()
    beside = Guest(popup.value, guest.platform)
    beside.page.reload()  # a popup may have complained before anybody listened
    expect(beside.page.locator("img")).to_have_js_property("naturalWidth", 2)
    assert console_errors_of(beside) == []


@pytest.mark.parametrize(
    ("mime_type", "sound"),
    [
        pytest.param("audio/wav", WAV, marks=needs(Need.WAVE_TABS), id="wav"),
        pytest.param("audio/mpeg", MP3, id="mp3"),
    ],
)
def test_sound_plays_in_a_tab_of_its_own_without_a_complaint(guest: Guest, mime_type: str, sound: bytes) -> None:
    attach(guest, "sound", mime_type, sound)
    guest.composer.press("Enter")
    url = guest.own_messages.locator("audio").evaluate("(player) => player.currentSrc || player.src")
    beside = Guest(guest.page.context.new_page(), guest.platform)
    beside.page.goto(url)
    # It is loaded and decoded: without a sound card the playing itself may fail.
    beside.page.wait_for_function("() => document.querySelector('video, audio').duration > 0")
    assert console_errors_of(beside) == []
