"""``cometbot init``: what it writes, that it works, and where it writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cometbot.cli import main
from cometbot.cli.init import TEMPLATES, to_bot_name
from cometbot.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture
def init(folder: Path) -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(main, ["init", *words])


def run(folder: Path, *command: str, said: str = "") -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COMET", "PYTEST", "PYTHON"))}
    environ |= {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder, env=environ, input=said, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_init_writes_all_files_for_a_bot_with_the_folders_name(
    init: Callable[..., Result], folder: Path, template: str
) -> None:
    result = init("Größe Shop", "--template", template)
    assert result.exit_code == 0
    assert "cd 'Größe Shop' && cometbot dev" in result.stdout
    made = folder / "Größe Shop"
    assert {path.name for path in made.iterdir()} == {*TEMPLATES[template], "wheels"}
    assert 'Bot("grosse-shop"' in (made / "bot.py").read_text()
    assert "${" not in "".join((made / name).read_text() for name in TEMPLATES[template])


@pytest.mark.process
@pytest.mark.parametrize("template", TEMPLATES)
def test_init_what_it_writes_passes_its_own_test(init: Callable[..., Result], folder: Path, template: str) -> None:
    init("shop", "--template", template)
    done = run(folder / "shop", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


@pytest.mark.process
def test_init_what_it_writes_runs_with_dev_at_once(init: Callable[..., Result], folder: Path) -> None:
    init("shop")
    command = "from cometbot.cli import main; main()"
    done = run(folder / "shop", "-c", command, "dev", "--port", "0", said="hi\n2\n/track 4711\n")
    assert done.returncode == 0, done.stdout + done.stderr
    for answer in ("What can I do for you?", "Somebody will be with you soon.", "Order 4711 is on its way"):
        assert answer in done.stdout


@pytest.mark.process
def test_init_assistant_runs_with_dev_until_a_model_is_named(
    init: Callable[..., Result], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of another program")
    init("shop", "--template", "assistant")
    command = "from cometbot.cli import main; main()"
    said = "hi\nWhere is order 4711?\nRefund order 4711.\napprove 3\n"
    done = run(folder / "shop", "-c", command, "dev", "--port", "0", said=said)
    assert done.returncode == 0, done.stdout + done.stderr
    for answer in ("I stand in for a language model", "sent on Monday", "Run refund?", "Refunded 12.50 euros"):
        assert answer in done.stdout


@pytest.mark.process
def test_init_its_wsgi_and_gunicorn_files_load(init: Callable[..., Result], folder: Path) -> None:
    init("shop")
    made = folder / "shop"
    login = "COMETBOT_CALLBACK_USERNAME=cc\nCOMETBOT_CALLBACK_PASSWORD=s3cr3t-value\n"
    account = "COMETCHAT_APP_ID=a1\nCOMETCHAT_REGION=eu\nCOMETCHAT_API_KEY=k1\n"
    (made / ".env").write_text(f"COMETBOT_BOT=bot:bot\n{login}{account}")
    done = run(made, "-m", "gunicorn", "--check-config", "wsgi:app")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("template", TEMPLATES)
def test_init_its_example_of_settings_names_only_what_there_is(
    init: Callable[..., Result], folder: Path, template: str
) -> None:
    init("shop", "--template", template)
    text = (folder / "shop" / ".env.example").read_text()
    (folder / "all").write_text("\n".join(line.removeprefix("# ") for line in text.splitlines() if "=" in line))
    settings = Settings.from_environment({}, folder / "all")
    assert (settings.bot, settings.warnings) == ("bot:bot", ())


def test_init_its_image_takes_no_secrets_along(init: Callable[..., Result], folder: Path) -> None:
    init("shop")
    for name in (".gitignore", ".dockerignore"):
        assert {".env", "*.db"} <= set((folder / "shop" / name).read_text().split())


def test_init_the_current_folder_is_empty_it_is_taken(init: Callable[..., Result], folder: Path) -> None:
    (folder / ".git").mkdir()
    result = init(".", "--name", "shop")
    assert (result.exit_code, "\n  cometbot dev\n" in result.stdout) == (0, True)
    assert 'Bot("shop"' in (folder / "bot.py").read_text()


def test_init_a_folder_deep_down_is_made(init: Callable[..., Result], folder: Path) -> None:
    assert init("a/b/shop").exit_code == 0
    assert 'Bot("shop"' in (folder / "a" / "b" / "shop" / "bot.py").read_text()


def test_init_the_folder_is_not_empty_nothing_is_touched(init: Callable[..., Result], folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop-2").mkdir()
    (folder / "shop" / "bot.py").write_text("mine")
    result = init("shop")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert "is not empty (bot.py)" in result.stderr
    assert "cometbot init shop-3" in result.stderr
    assert [path.read_text() for path in (folder / "shop").iterdir()] == ["mine"]


def test_init_in_nonempty_folder_suggests_another(init: Callable[..., Result], folder: Path) -> None:
    for number in range(5):
        (folder / f"{number}.txt").write_text("")
    result = init(".")
    assert result.exit_code == 2
    assert "(0.txt, 1.txt, 2.txt and 2 more)" in result.stderr
    assert f"cometbot init {folder}-2" in result.stderr


def test_init_there_is_a_file_of_this_name_it_says_so(init: Callable[..., Result], folder: Path) -> None:
    (folder / "shop").write_text("mine")
    result = init("shop")
    assert (result.exit_code, "shop is not a folder" in result.stderr) == (2, True)
    (folder / "bot.py").write_text("mine")
    assert "for example cometbot init bot-2" in init("bot.py").stderr
    result = init("shop/in")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


def test_init_it_cannot_write_what_was_written_goes_again(
    init: Callable[..., Result], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def open_unless_full(path: Path, *words: Any, **more: Any) -> Any:
        if path.name == "Dockerfile":
            raise OSError(28, "No space left on device", str(path))
        return opened(path, *words, **more)

    monkeypatch.setattr(Path, "open", open_unless_full)
    result = init("shop")
    assert (result.exit_code, "No space left" in result.stderr, "Choose another" in result.stderr) == (2, True, True)
    assert list((folder / "shop").iterdir()) == []


def test_init_with_invalid_name_suggests_a_valid_one(init: Callable[..., Result]) -> None:
    result = init("shop", "--name", "My Shop!")
    assert (result.exit_code, "my-shop" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "name"),
    [("shop", "shop"), ("My Shop", "my-shop"), ("café", "cafe"), ("a.b_c", "a-b_c"), ("日本", "bot"), ("", "bot"),
     ("--x--", "x"), ("x" * 60, "x" * 50), ("y" * 49 + "--z", "y" * 49)],
)  # fmt: skip
def test_name_is_made_valid(text: str, name: str) -> None:
    assert to_bot_name(text) == name


def test_init_writes_no_path_of_this_machine(init: Callable[..., Result], folder: Path) -> None:
    init("shop")
    texts = [path.read_text() for path in (folder / "shop").iterdir() if path.is_file()]
    assert [text for text in texts if str(ROOT) in text or str(folder) in text] == []


def test_init_ignores_the_files_that_cometbot_makes(init: Callable[..., Result], folder: Path) -> None:
    init("shop")
    subprocess.run(["git", "init", "--quiet"], cwd=folder / "shop", check=True)
    made = (".env", "cometbot.db", "cometbot.db-wal", "cometbot.db-turns", "cometbot-data/files/1", ".venv/pyvenv.cfg")
    for name in made:
        (folder / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "shop" / name).touch()
    listed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=folder / "shop", capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    files = {line.removeprefix("?? ") for line in listed.splitlines()}
    assert files == {*TEMPLATES["basic"], f"wheels/cometbot-{metadata.version('cometbot')}-py3-none-any.whl"}


@pytest.mark.process
def test_init_its_requirements_install_elsewhere(init: Callable[..., Result], folder: Path) -> None:
    init("shop")
    elsewhere = (folder / "shop").rename(folder / "moved")
    words = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder / "installed")]
    done = run(elsewhere, *words, "-r", "requirements.txt")
    assert done.returncode == 0, done.stdout + done.stderr

    code = "import cometbot, pathlib; print(pathlib.Path(cometbot.__file__).parent)"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "installed")}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    installed = Path(shown.stdout.strip())
    assert installed == folder / "installed" / "cometbot"
    assert _sources(installed) == _sources(ROOT / "cometbot")
    assert (folder / "installed" / "bin" / "cometbot").is_file()


def _sources(package: Path) -> set[str]:
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(package)) for path in files}
