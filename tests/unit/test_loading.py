from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cometbot.errors import ConfigurationError
from cometbot.loading import check_files, choose_bot, load_bots, load_bots_or_explain
from cometbot.settings import Settings

SHOP = """
from cometbot.bot import Bot
bot = Bot("shop")
admin = Bot("admin")
title = "a shop"
class Holder:
    inner = Bot("inner")
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into an empty current folder, and forgets all modules that a test imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def error_text(spec: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_bots(spec)
    return str(caught.value)


def test_bots_are_loaded_in_their_order_and_each_once(write: Write) -> None:
    write("loaded_shop.py", SHOP)
    bots = load_bots("loaded_shop:admin, loaded_shop:bot,loaded_shop:admin,")
    assert [bot.name for bot in bots] == ["admin", "shop"]


def test_an_attribute_inside_of_another_is_found(write: Write) -> None:
    write("loaded_holder.py", SHOP)
    assert [bot.name for bot in load_bots("loaded_holder:Holder.inner")] == ["inner"]


def test_a_file_is_loaded_with_its_folder_to_import_from(write: Write) -> None:
    write("bots/loaded_words.py", "NAME = 'shop'\n")
    file = write(
        "bots/loaded_file.py", "from cometbot.bot import Bot\nfrom loaded_words import NAME\nbot = Bot(NAME)\n"
    )
    assert [bot.name for bot in load_bots("bots/loaded_file.py:bot")] == ["shop"]
    assert load_bots(f"{file}:bot") == load_bots("loaded_file:bot")


def test_a_file_of_a_package_is_loaded_as_its_module(write: Write) -> None:
    write("loaded_package/__init__.py", "")
    write("loaded_package/bots.py", "from . import names\nfrom cometbot.bot import Bot\nbot = Bot(names.NAME)\n")
    write("loaded_package/names.py", "NAME = 'packed'\n")
    assert load_bots("loaded_package/bots.py:bot") == load_bots("loaded_package.bots:bot")


@pytest.mark.parametrize("spec", ["loaded_only.py", "loaded_only", "./loaded_only.py"])
def test_the_only_bot_of_a_module_needs_no_attribute(write: Write, spec: str) -> None:
    write("loaded_only.py", "from cometbot.bot import Bot\nmine = Bot('shop')\nagain = mine\n")
    assert [bot.name for bot in load_bots(spec)] == ["shop"]


def test_module_without_single_bot_lists_candidates(write: Write) -> None:
    write("loaded_two.py", SHOP)
    write("loaded_none.py", "x = 1\n")
    assert error_text("loaded_two.py") == (
        "loaded_two.py has several bots; name one of loaded_two.py:bot, loaded_two.py:admin"
    )
    assert error_text("loaded_none").startswith("loaded_none has no Bot; set COMETBOT_BOT")


def test_the_bot_is_the_one_given_else_the_setting_else_bot_py(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"no bot is named and there is no bot.py here in {tmp_path}"):
        choose_bot("", Settings())
    write("bot.py", SHOP)
    assert choose_bot("", Settings()) == "bot.py"
    assert choose_bot("", Settings(bot="shop:bot")) == "shop:bot"
    assert choose_bot("a:b", Settings(bot="shop:bot")) == "a:b"


def test_a_missing_file_is_found_without_an_import(write: Write) -> None:
    write("loaded_there.py", "raise RuntimeError('imported')\n")
    check_files("loaded_there.py:bot, some.module:bot")
    with pytest.raises(ConfigurationError, match=r"there is no file nope\.py"):
        check_files("loaded_there.py:bot,nope.py:bot")


@pytest.mark.parametrize("spec", ["", " , "])
def test_no_name_at_all_is_refused_with_how_to_set_one(spec: str) -> None:
    assert error_text(spec).startswith("no bot is named; set COMETBOT_BOT to module:attribute")


@pytest.mark.parametrize("spec", ["shop:", ":bot", ":"])
def test_half_a_bot_name_is_refused(spec: str) -> None:
    assert error_text(spec).startswith(f"{spec!r} names no bot; set COMETBOT_BOT to module:attribute")


def test_missing_module_error_names_the_folder(write: Write, tmp_path: Path) -> None:
    assert f"there is no module 'loaded_nowhere' here in {tmp_path}" in error_text("loaded_nowhere:bot")
    assert "there is no module 'loaded_nowhere'" in error_text("loaded_nowhere.bots:bot")


def test_missing_file_error_names_the_folder(write: Write, tmp_path: Path) -> None:
    assert f"there is no file bots/shop.py here in {tmp_path}" in error_text("bots/shop.py:bot")


def test_missing_import_inside_bot_module_is_raised(write: Write) -> None:
    write("loaded_broken.py", "import loaded_missing_library\n")
    with pytest.raises(ModuleNotFoundError, match="loaded_missing_library"):
        load_bots("loaded_broken:bot")


def test_what_a_module_raises_comes_through_unchanged(write: Write) -> None:
    write("loaded_raising.py", "raise ZeroDivisionError('of the author')\n")
    with pytest.raises(ZeroDivisionError, match="of the author"):
        load_bots("loaded_raising:bot")


def test_missing_attribute_error_lists_bots(write: Write) -> None:
    write("loaded_typo.py", SHOP)
    assert (
        error_text("loaded_typo:bott") == "the module loaded_typo has no 'bott'; it has: admin, bot (did you mean bot?)"
    )


def test_an_attribute_of_a_module_without_bots_is_refused(write: Write) -> None:
    write("loaded_empty.py", "import os\n")
    assert error_text("loaded_empty:bot") == "the module loaded_empty has no 'bot'; it has no Bot at all"
    assert "a str has no 'bot'" in error_text("loaded_empty:os.name.bot")


def test_an_attribute_that_is_no_bot_is_refused_with_its_type(write: Write) -> None:
    write("loaded_other.py", SHOP)
    assert "loaded_other:title is of the type str and no Bot" in error_text("loaded_other:title")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("x = 1\ndef f(:\n", "the bot bad:bot cannot be loaded; bad.py, line 2: SyntaxError: invalid syntax"),
        ("import nonesuch", "bad.py, line 1: ModuleNotFoundError: No module named 'nonesuch'"),
        ("raise SystemExit('no')", "bad.py, line 1: SystemExit: no"),
        (
            "from cometbot import Bot\nbot = Bot('b')\n@bot.message('a')\ndef f(ctx):\n    yield 1\n",
            r"cannot be loaded; bad.py, line 3: .*ctx\.stream",
        ),
        (
            "from cometbot import Bot\nclass Shop: ...\nbot = Bot('b')\nbot.command('a')(lambda ctx, shop: 1)\n"
            "@bot.command\ndef f(ctx, shop: Shop): ...\n",
            r"cannot be loaded; shop: <class 'bad.Shop'> of bad.f is neither made from text nor provided; call",
        ),
    ],
)
def test_load_bots_or_explain_names_the_line(write: Write, code: str, sentence: str) -> None:
    write("bad.py", code)
    with pytest.raises(ConfigurationError, match=sentence):
        load_bots_or_explain("bad:bot")


def test_load_bots_or_explain_keeps_configuration_errors(write: Write) -> None:
    write("shop.py", SHOP)
    assert [bot.name for bot in load_bots_or_explain("shop:bot")] == ["shop"]
    with pytest.raises(ConfigurationError, match=r"^there is no module 'nowhere'"):
        load_bots_or_explain("nowhere:bot")


@pytest.mark.parametrize("spec", ["nowhere:bot", "nowhere.py:bot"])
def test_missing_module_error_lists_bots_of_folder(write: Write, spec: str) -> None:
    write("shop.py", SHOP)
    write("news.py", "import cometbot\nother: cometbot.Bot = cometbot.Bot('news')\n")
    write("test_shop.py", "bot = Bot('test')\n")
    with pytest.raises(ConfigurationError, match=r", where there are news.py:other, shop.py:bot, shop.py:admin; set"):
        load_bots(spec)


def test_of_many_bots_in_the_folder_a_few_are_named(write: Write) -> None:
    write("many.py", "".join(f"bot{number} = Bot('b{number}')\n" for number in range(7)))
    with pytest.raises(ConfigurationError, match=r"many.py:bot4, …; set"):
        load_bots("nowhere:bot")
