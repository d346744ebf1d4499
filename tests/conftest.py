"""What tests of several layers share."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa
from werkzeug.routing import Rule

from cometbot.store.factory import database_from_url
from tests.cometchat_operations import collect_faults, install_checks
from tests.postgres_server import PostgresServer

TESTS = Path(__file__).parent
LONG_FILES = [
    "contract/dialogs/test_streams.py",
    "acceptance/docs/test_commands.py",
    "contract/dialogs/test_crashes.py",
    "acceptance/faults/test_faults.py",
    "acceptance/docs/test_new_project.py",
    "acceptance/test_dialogs.py",
    "acceptance/test_simplex.py",
    "acceptance/installed/test_commands.py",
    "contract/dialogs/test_pydantic_ai.py",
    "contract/dialogs/test_token_usage.py",
    "contract/dialogs/test_agents.py",
    "acceptance/web/test_shutdown.py",
    "acceptance/test_dev.py",
    "browser/webchat/test_chatting.py",
    "integration/store/test_query_plans.py",
    "contract/channels/test_cometchat.py",
    "acceptance/installed/test_installed.py",
    "integration/channels/platform/test_removal.py",
    "acceptance/test_crashes.py",
    "browser/webchat/test_chats.py",
    "browser/webchat/test_connection.py",
    "integration/channels/cometchat/test_mutations.py",
    "contract/delivery/test_mailbox_and_order.py",
    "acceptance",
    "browser",
    "contract",
    "integration",
]
"""Files that take long, those that take longest first, and the folders whose other files follow."""
MEMORY = Path("/dev/shm")
NEEDED_MEMORY = 4 * 1024**3

_names = itertools.count(1)

# Helpers of several folders' tests: whichever imports them first, their assertions say what they compared.
pytest.register_assert_rewrite("tests.contract.dialogs.crashing", "tests.contract.dialogs.processes")


def use_memory() -> None:
    """Put temporary files into memory, where a sync takes no time, unless ``TMPDIR`` names a folder.

    No test depends on the disk: those of durability kill processes, not the machine.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    allows_programs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    if allows_programs and shutil.disk_usage(MEMORY).free >= NEEDED_MEMORY:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


use_memory()


def compile_url_builders_on_demand() -> None:
    """Have Werkzeug compile what builds a rule's URLs when the first is built.

    It is most of the time that the creation of an application takes, and few tests build URLs.
    """
    compile_builder = Rule._compile_builder

    def compile_on_demand(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled = functools.cache(functools.partial(compile_builder, rule, append_unknown))
        return lambda rule, **values: compiled()(rule, **values)

    Rule._compile_builder = compile_on_demand  # type: ignore[method-assign]


compile_url_builders_on_demand()
install_checks()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker of pytest-xdist is left alone with one at the end."""
    order = {TESTS / name: number for number, name in enumerate(LONG_FILES)}

    @functools.cache
    def place(file: Path) -> int:
        return next((order[path] for path in (file, *file.parents) if path in order), len(order))

    items.sort(key=lambda item: place(item.path))


# How long an example takes says nothing on a machine that does something else as well.
hypothesis.settings.register_profile("cometbot", deadline=None)
hypothesis.settings.load_profile("cometbot")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report, with what was logged as text that pytest-xdist can send: it may hold halves of characters."""
    report = yield
    report.sections = [(name, text.encode(errors="replace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def kept_environment() -> Iterator[None]:
    """Fail a test that leaves variables behind: a later one in the same process would see them."""
    before = _environment()
    yield
    after = _environment()
    left = {name for name, _ in before.items() ^ after.items()}
    for name in left:
        os.environ.pop(name, None)
    os.environ.update({name: before[name] for name in left & before.keys()})
    assert not left, f"the test left variables of the environment changed: {', '.join(sorted(left))}"


@pytest.fixture(autouse=True)
def documented_operations(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose clients or simulators do what CometChat's documents do not say.

    A test of other requests has the mark ``undocumented``.
    """
    with collect_faults() as faults:
        yield
    if request.node.get_closest_marker("undocumented") is None:
        assert not faults, f"not as CometChat documents it: {'; '.join(dict.fromkeys(faults))}"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Set a umask that takes no right away from new files and folders."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; ``COMETBOT_TEST_POSTGRES`` (a URL) does not replace it where a test stops and starts it."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def make_postgres_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes empty databases with the current schema; returns their URLs."""
    given = os.environ.get("COMETBOT_TEST_POSTGRES", "")
    if given:
        return lambda: _copy_database(given)
    server: PostgresServer = request.getfixturevalue("postgres")
    server.execute("CREATE DATABASE cometbot_template")
    template = database_from_url(server.url("cometbot_template"))
    template.upgrade()
    template.close()

    def make() -> str:
        name = f"cometbot_{next(_names)}"
        server.copy("cometbot_template", name)
        return server.url(name)

    return make


def _copy_database(url: str) -> str:
    """A new database on the server of ``url``."""
    import psycopg

    name = f"cometbot_test_{os.getpid()}_{next(_names)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    made = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    opened = database_from_url(made)
    opened.upgrade()
    opened.close()
    return made


@pytest.fixture
def postgres_url(make_postgres_database: Callable[[], str], request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database with the current schema."""
    is_own = not os.environ.get("COMETBOT_TEST_POSTGRES", "")
    server = request.getfixturevalue("postgres") if is_own else None
    url = make_postgres_database()
    yield url
    if server is not None:
        server.drop(sa.make_url(url).database)
