"""What a page tells for a moment only: it is kept, so that a test that looks a little later sees it too."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page

_RECORD_NOTICES = """(() => {
    const told = (window.told = []);
    const keep = () => {
        for (const one of document.querySelectorAll(".toast, .notice:not([hidden])")) {
            const entry = `${one.className}: ${one.textContent}`;
            if (one.textContent && told.at(-1) !== entry) told.push(entry);
        }
    };
    const all = { attributeFilter: ["class", "hidden"], characterData: true, childList: true, subtree: true };
    new MutationObserver(keep).observe(document, all);
    keep(); // in WebKit this script runs after those of the page
})()"""
_HAS_NOTICE = """([kind, text]) => window.told.some((entry) => {
    const [classes, shown] = [entry.split(": ", 1)[0].split(" "), entry.slice(entry.indexOf(": ") + 2)];
    return kind.every((name) => classes.includes(name)) && shown.includes(text);
})"""


def record_notices(context: BrowserContext) -> None:
    """Have all pages of ``context`` keep their toasts and notices, each from when it is loaded on."""
    context.add_init_script(_RECORD_NOTICES)


def wait_for_notice(page: Page, text: str, kind: str = "toast") -> None:
    """Wait until the page has told this since it was loaded; ``kind`` is for example ``notice good``."""
    page.wait_for_function(_HAS_NOTICE, arg=[kind.split(), text], polling=50)
