"""``cometbot init``: creates a folder with a bot, its test, and the files to deploy it."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import shutil
import unicodedata
import zipfile
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path
from string import Template

import click

import cometbot
from cometbot.cli import CommandError

_BASIC = {
    "bot.py": ["bot.py.txt"],
    "test_bot.py": ["test_bot.py.txt"],
    "wsgi.py": ["wsgi.py.txt"],
    "gunicorn.conf.py": ["gunicorn.conf.py.txt"],
    "requirements.txt": ["requirements.txt.txt"],
    ".env.example": ["env.example.txt"],
    ".gitignore": ["gitignore.txt"],
    ".dockerignore": ["dockerignore.txt"],
    "Dockerfile": ["Dockerfile.txt"],
    "README.md": ["README.md.txt"],
}
_ASSISTANT = {
    "bot.py": ["assistant.bot.py.txt"],
    "model.py": ["assistant.model.py.txt"],
    "test_bot.py": ["assistant.test_bot.py.txt"],
    "requirements.txt": ["requirements.txt.txt", "assistant.requirements.txt.txt"],
    ".env.example": ["env.example.txt", "assistant.env.example.txt"],
    "README.md": ["README.md.txt", "assistant.README.md.txt"],
}
TEMPLATES: dict[str, dict[str, list[str]]] = {"basic": _BASIC, "assistant": {**_BASIC, **_ASSISTANT}}
"""The files that each template writes. A file is the texts of these templates, one behind the other."""

_IGNORED_ENTRIES = {".git", ".hg", ".venv", "venv"}
_WHEEL_FOLDER = "wheels"
_MAX_NAME_LENGTH = 50
_MAX_LISTED = 3
_WHEEL_METADATA = "Wheel-Version: 1.0\nGenerator: cometbot init\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_FIXED_TIMESTAMP = (2020, 1, 1, 0, 0, 0)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", default="", metavar="NAME", help="Name and UID of the bot. Default: the name of the folder.")
@click.option(
    "--template",
    type=click.Choice(list(TEMPLATES)),
    default="basic",
    show_default=True,
    help="The bot to begin with; assistant is a language model with tools.",
)
def init(folder: Path, name: str, template: str) -> None:
    """Create a project in the folder DIR: a bot, its test, and the files to serve it.

    DIR is new or empty; "." is the current folder.
    """
    if name and to_bot_name(name) != name:
        raise click.BadParameter(
            f"expected at most 50 characters of a-z, 0-9, - and _, such as {to_bot_name(name)}", param_hint="--name"
        )
    name = name or to_bot_name(folder.resolve().name)
    try:
        check_is_empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_project(folder, name, template)
    except OSError as error:
        raise CommandError(
            f"cannot write {error.filename or folder}: {error.strerror}. Choose another folder, for example "
            f"cometbot init ~/{name}"
        ) from error
    is_here = folder.resolve() == Path.cwd()
    click.echo(f"Created the bot {name} in {'this folder' if is_here else folder}. Talk to it:\n")
    click.echo("  cometbot dev" if is_here else f"  cd {_quoted(folder)} && cometbot dev")
    click.echo("\nREADME.md explains how to test it and how to put it on CometChat.")


def to_bot_name(text: str) -> str:
    """Return a valid bot name similar to ``text``: 1 to 50 of a-z, 0-9, - and _; ``bot`` if nothing is left."""
    ascii_text = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_]+", "-", ascii_text)[:_MAX_NAME_LENGTH].strip("-_") or "bot"


def check_is_empty(folder: Path) -> None:
    """Raise :class:`CommandError` if ``folder`` is not a folder, or is not empty.

    A repository and a virtual environment do not count.
    """
    stem = folder.with_suffix("") if folder.is_file() else folder
    suggestion = f"choose a new folder, for example cometbot init {_quoted(_unused_sibling(stem))}"
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} is not a folder; {suggestion}")
    names = {item.name for item in folder.iterdir()} if folder.is_dir() else set()
    unexpected = sorted(names - _IGNORED_ENTRIES, key=lambda name: (name.startswith("."), name))
    if unexpected:
        more = len(unexpected) - _MAX_LISTED
        listed = ", ".join(unexpected[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
        raise CommandError(f"the folder {folder.resolve()} is not empty ({listed}); empty it, or {suggestion}")


def write_project(folder: Path, name: str, template: str) -> None:
    """Write all files without overwriting any. If one cannot be written, remove those that were."""
    values = {"name": name, "requirement": f"./{_WHEEL_FOLDER}/{wheel_name()}"}
    templates = resources.files("cometbot.cli") / "templates"
    texts = {
        file: Template("".join((templates / part).read_text("utf-8") for part in parts)).substitute(values)
        for file, parts in TEMPLATES[template].items()
    }
    written: list[Path] = []
    try:
        for file, text in texts.items():
            with (folder / file).open("x", encoding="utf-8") as opened:
                written.append(folder / file)
                opened.write(text)
        write_wheel(folder / _WHEEL_FOLDER)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        shutil.rmtree(folder / _WHEEL_FOLDER, ignore_errors=True)
        raise


def _unused_sibling(folder: Path) -> Path:
    """Return a sibling of ``folder`` that does not exist."""
    resolved = folder.resolve()
    number = 2
    while (free := resolved.with_name(f"{resolved.name or 'bot'}-{number}")).exists():
        number += 1
    return free if folder.is_absolute() or not folder.name else folder.with_name(free.name)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def wheel_name() -> str:
    """Return the file name of the installed cometbot's wheel."""
    return f"cometbot-{metadata.version('cometbot')}-py3-none-any.whl"


def write_wheel(folder: Path) -> Path:
    """Write the installed cometbot into ``folder`` as a wheel, replacing an existing one, and return its path.

    The format is packaging.python.org, "Binary distribution format".
    """
    distribution = metadata.distribution("cometbot")
    info = f"cometbot-{distribution.version}.dist-info"
    wheel = folder / wheel_name()
    folder.mkdir(parents=True, exist_ok=True)
    record: list[str] = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*_package_files(), *_info_files(distribution, info)]:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
            archive.writestr(_zip_entry(name), content)
        lines = [*record, f"{info}/RECORD,,"]
        archive.writestr(_zip_entry(f"{info}/RECORD"), "\n".join(lines) + "\n")
    return wheel


def _package_files() -> Iterator[tuple[str, bytes]]:
    root = Path(cometbot.__file__).parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"cometbot/{path.relative_to(root).as_posix()}", path.read_bytes()


def _info_files(distribution: metadata.Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    # An editable installation has its metadata in an egg-info folder, under another name.
    package_metadata = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    yield f"{info}/METADATA", package_metadata.encode()
    yield f"{info}/entry_points.txt", (distribution.read_text("entry_points.txt") or "").encode()
    yield f"{info}/WHEEL", _WHEEL_METADATA.encode()


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _FIXED_TIMESTAMP)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
