"""``cometbot init``: a folder with a bot that answers, its test, and all that it takes to serve it."""

from __future__ import annotations

import re
import shlex
import shutil
import unicodedata
from importlib import resources
from pathlib import Path
from string import Template

import click

from cometbot.cli import Sentence
from cometbot.cli.wheel import wheel_name, write_wheel

FILES = {
    "bot.py": "bot.py.txt",
    "test_bot.py": "test_bot.py.txt",
    "wsgi.py": "wsgi.py.txt",
    "gunicorn.conf.py": "gunicorn.conf.py.txt",
    "requirements.txt": "requirements.txt.txt",
    ".env.example": "env.example.txt",
    ".gitignore": "gitignore.txt",
    ".dockerignore": "dockerignore.txt",
    "Dockerfile": "Dockerfile.txt",
    "README.md": "README.md.txt",
}
"""What is written, and the template of each."""

_MAY_BE_THERE = {".git", ".hg", ".venv", "venv"}
_WHEELS = "wheels"
_NAME_LENGTH = 50
_SHOWN = 3


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", default="", metavar="NAME", help="The bot's name and UID; without it that of the folder.")
def init(folder: Path, name: str) -> None:
    """Make the folder DIR with a bot in it, its test, and all that it takes to serve it.

    DIR is new or empty; "." is the folder that you are in.
    """
    if name and make_name(name) != name:
        raise click.BadParameter(
            f"a bot's name is made of a-z 0-9 - _, at most 50: {make_name(name)}", param_hint="--name"
        )
    name = name or make_name(folder.resolve().name)
    try:
        check_is_free(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_project(folder, name)
    except OSError as error:
        raise Sentence(
            f"{error.filename or folder} cannot be written ({error.strerror}); choose another folder, for example "
            f"cometbot init ~/{name}"
        ) from error
    is_here = folder.resolve() == Path.cwd()
    click.echo(f"There is a bot {name} in {'this folder' if is_here else folder} now. Talk to it:\n")
    click.echo("  cometbot dev" if is_here else f"  cd {_quoted(folder)} && cometbot dev")
    click.echo("\nREADME.md says how to test it and how to put it on CometChat.")


def make_name(text: str) -> str:
    """A bot's name as near to ``text`` as can be: 1 to 50 of a-z, 0-9, - and _; ``bot`` if nothing is left."""
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_]+", "-", plain)[:_NAME_LENGTH].strip("-_") or "bot"


def check_is_free(folder: Path) -> None:
    """Raise :class:`Sentence` if ``folder`` is something else than a folder, or not empty.

    A repository and a virtual environment do not count.
    """
    stem = folder.with_suffix("") if folder.is_file() else folder
    other = f"name a new folder, for example cometbot init {_quoted(_next_to(stem))}"
    if folder.exists() and not folder.is_dir():
        raise Sentence(f"{folder} is no folder; {other}")
    names = {item.name for item in folder.iterdir()} if folder.is_dir() else set()
    in_the_way = sorted(names - _MAY_BE_THERE, key=lambda name: (name.startswith("."), name))
    if in_the_way:
        more = len(in_the_way) - _SHOWN
        listed = ", ".join(in_the_way[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        raise Sentence(f"the folder {folder.resolve()} is not empty ({listed}); empty it, or {other}")


def write_project(folder: Path, name: str) -> None:
    """Write all files; none that exists is overwritten. What was written is removed again if one cannot be."""
    values = {"name": name, "requirement": f"./{_WHEELS}/{wheel_name()}"}
    templates = resources.files("cometbot.cli") / "templates"
    texts = {
        file: Template((templates / template).read_text("utf-8")).substitute(values) for file, template in FILES.items()
    }
    written: list[Path] = []
    try:
        for file, text in texts.items():
            with (folder / file).open("x", encoding="utf-8") as opened:
                written.append(folder / file)
                opened.write(text)
        write_wheel(folder / _WHEELS)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        shutil.rmtree(folder / _WHEELS, ignore_errors=True)
        raise


def _next_to(folder: Path) -> Path:
    """A folder beside ``folder`` that does not exist."""
    resolved = folder.resolve()
    number = 2
    while (free := resolved.with_name(f"{resolved.name or 'bot'}-{number}")).exists():
        number += 1
    return free if folder.is_absolute() or not folder.name else folder.with_name(free.name)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
