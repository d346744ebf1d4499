"""WebKit in a window of its own: Debian's MiniBrowser, driven by WebKitWebDriver on a display without a screen."""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import WebKitGTK
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service

DRIVER = Path("/usr/bin/WebKitWebDriver")
XVFB = Path("/usr/bin/Xvfb")


def mini_browser() -> Path:
    """Return the path of the browser that Debian ships with the library."""
    found = sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
    for needed, package in ((found[-1:], "webkit2gtk-driver"), (DRIVER.exists(), "webkit2gtk-driver")):
        if not needed:
            pytest.fail(f"WebKit is missing: apt-get install {package}")
    if not XVFB.exists():
        pytest.fail(f"{XVFB} is missing: apt-get install xvfb")
    return found[-1]


@contextmanager
def display() -> Iterator[str]:
    """Run an X server that shows nothing. Yield its name."""
    read, write = os.pipe()
    command = [str(XVFB), "-displayfd", str(write), "-screen", "0", "1400x1000x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as number:
            yield f":{number.readline().strip()}"
    finally:
        server.terminate()
        server.wait(60)


def start(environ: dict[str, str], folder: Path, *, is_dark: bool, is_still: bool) -> WebKitGTK:
    """Start a browser with its profile in ``folder``; ``is_still`` for no animations."""
    config = folder / "config" / "gtk-3.0"
    config.mkdir(parents=True)
    (config / "settings.ini").write_text(f"[Settings]\ngtk-enable-animations={int(not is_still)}\n")
    folders = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "CACHE", "DATA")}
    caches = {"MESA_SHADER_CACHE_DISABLE": "true"}  # it is written as the processes end, into a folder that is gone
    options = Options()
    options.binary_location = str(mini_browser())
    options.add_argument("--automation")
    if is_dark:
        options.add_argument("--dark-mode")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Selenium's own call of its connection
        return WebKitGTK(
            options=options, service=Service(str(DRIVER), env={**os.environ, **folders, **caches, **environ})
        )


class Locales:
    """The languages of the browser. Debian has them as sources only, so each is compiled once into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def environment(self, locale: str) -> dict[str, str]:
        """Return the variables that set ``locale``, for example ``de-AT``."""
        name = f"{locale.replace('-', '_')}.UTF-8"
        target = self._folder / name
        if not target.exists():
            command = ["localedef", "--inputfile", name.partition(".")[0], "--charmap", "UTF-8", str(target)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        return {"LOCPATH": str(self._folder), "LANG": name, "LC_ALL": name}
