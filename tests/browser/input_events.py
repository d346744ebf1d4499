"""Events of a keyboard, an input method and a clipboard, as the browsers send them."""

from __future__ import annotations

from playwright.sync_api import Locator

_SAFARI_ENTER = {"key": "Enter", "code": "Enter", "keyCode": 229, "which": 229, "isComposing": False}
"""Safari sends this after `compositionend`, when Enter confirms a candidate."""

_COMPOSED_ENTER = {**_SAFARI_ENTER, "isComposing": True}

_PASTE = """(box, {text, html, names}) => {
    const data = new DataTransfer();
    if (text) data.setData("text/plain", text);
    if (html) data.setData("text/html", html);
    for (const name of names) data.items.add(new File([new Uint8Array([137, 80, 78, 71])], name, {type: "image/png"}));
    const event = new ClipboardEvent("paste", {bubbles: true, cancelable: true});
    Object.defineProperty(event, "clipboardData", {value: data}); // Firefox has no such option
    return box.dispatchEvent(event);
}"""


def confirm_candidate(box: Locator, *, safari: bool = True) -> None:
    """Press Enter in ``box`` as an input method does to confirm a candidate."""
    options = _SAFARI_ENTER if safari else _COMPOSED_ENTER
    box.evaluate(
        "(box, options) => box.dispatchEvent(new KeyboardEvent('keydown', options))",
        {**options, "bubbles": True, "cancelable": True},
    )


def paste(box: Locator, text: str = "", html: str = "", names: tuple[str, ...] = ()) -> bool:
    """Paste this clipboard into ``box``. Return whether the page left it to the browser."""
    return bool(box.evaluate(_PASTE, {"text": text, "html": html, "names": list(names)}))
