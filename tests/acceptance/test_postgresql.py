"""``cometbot serve`` with its worker on a PostgreSQL whose connections are cut, restarted, replaced or pooled."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from tests.pgbouncer import PgBouncer
from tests.ports import HOST
from tests.postgres_server import PostgresServer
from tests.tcp_proxy import TcpProxy

from .conftest import CometChatDriver, Server, StartServer, wait_for

pytestmark = pytest.mark.process

COMETBOT = (sys.executable, "-c", "from cometbot.cli import main; main(prog_name='cometbot')")

IN_USE = b"FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class ServeCommand(Server):
    """``cometbot serve``, which runs a worker beside the web processes."""

    command = (*COMETBOT, "serve")


class ServedBot:
    """A served bot, and the ways to its database: through ``proxy``, and ``direct``."""

    def __init__(self, server: Server, platform: CometChatDriver, proxy: TcpProxy, direct: str) -> None:
        self.server, self.platform, self.proxy, self.direct = server, platform, proxy, direct

    def post(self, text: str) -> int:
        """Return the status of a callback."""
        return self.server.post(self.platform.callback(self.platform.write(text))).status_code

    def terminate_all(self) -> None:
        """End all connections to the database, as an administrator does."""
        with psycopg.connect(self.direct, autocommit=True) as connection:
            connection.execute(b"SELECT pg_terminate_backend(pid) " + IN_USE)

    def wait_answered(self, text: str) -> None:
        """Write until the bot has answered, which shows that its worker works."""
        count = len(self.platform.replies())
        assert self.post(text) == 200
        self.platform.wait_replies("maria", count + 1, self.server)


def name_of(url: str) -> str:
    return str(sa.make_url(url).database)


@pytest.fixture(scope="module")
def served_bot(
    start_server: StartServer,
    platform: CometChatDriver,
    postgres: PostgresServer,
    make_postgres_database: Callable[[], str],
) -> Iterator[ServedBot]:
    direct = postgres.url(name_of(make_postgres_database()))
    with closing(TcpProxy(postgres.socket)) as proxy:
        url = f"postgresql://postgres@{HOST}:{proxy.port}/{name_of(direct)}"
        server = start_server(
            kind=ServeCommand, COMETBOT_DATABASE_URL=url, COMETBOT_PROCESSES="1", COMETBOT_TEST_IDLE_TIMEOUT="5"
        )
        yield ServedBot(server, platform, proxy, direct)
        server.terminate()


def test_callbacks_after_terminated_connections_are_stored(served_bot: ServedBot) -> None:
    for number in range(3):
        served_bot.wait_answered(f"before {number}")
        served_bot.terminate_all()
        assert served_bot.post(f"after {number}") == 200
    served_bot.wait_answered("at last")


def test_callbacks_after_cut_connections_are_stored(served_bot: ServedBot) -> None:
    for number in range(3):
        served_bot.proxy.cut()
        assert served_bot.post(f"after {number}") == 200
    served_bot.wait_answered("at last")
    assert served_bot.server.get("/readyz").status_code == 200


def test_callbacks_after_a_restart_are_stored(served_bot: ServedBot, postgres: PostgresServer) -> None:
    served_bot.wait_answered("before")
    postgres.pg_ctl_start("restart")
    assert served_bot.post("after") == 200
    served_bot.wait_answered("at last")


def test_failover_refuses_callbacks_until_promotion(served_bot: ServedBot, postgres: PostgresServer) -> None:
    served_bot.wait_answered("before")
    server, target = served_bot.server, served_bot.proxy.target
    logged = len(server.log)
    with ClosingServer(PostgresServer()) as standby:
        standby.start_standby(postgres)
        served_bot.proxy.target = standby.socket
        served_bot.proxy.cut()
        answer = server.post(served_bot.platform.callback(served_bot.platform.write("to the standby")))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ERR_UNAVAILABLE")
        assert answer.headers["Retry-After"]
        assert server.get("/readyz").status_code == 503
        assert "read-only" in server.get("/readyz").json()["checks"]["database"]
        assert 'cometbot_database_failures_total{kind="standby"}' in server.get("/metrics").text
        errors = [line for line in server.log[logged:].splitlines() if "ERROR" in line and "read-only" in line]
        assert 1 <= len(errors) <= 2, "one a minute in the web process, one in the worker"
        assert all("target_session_attrs=read-write" in line for line in errors)

        standby.promote()
        wait_for(lambda: served_bot.post("to the new primary") == 200, or_show=lambda: server.log)
        server.wait_until(lambda: server.get("/readyz").status_code == 200)
        served_bot.proxy.target = target
        served_bot.proxy.cut()
    served_bot.wait_answered("at last")
    assert "Traceback" not in server.log[logged:], server.log[logged:]


class ClosingServer:
    """Stops a server at the end of the block."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def __enter__(self) -> PostgresServer:
        return self._server

    def __exit__(self, *ended: object) -> None:
        self._server.stop()


def test_idle_processes_log_nothing_and_give_connections_back(served_bot: ServedBot) -> None:
    def count() -> int:
        with psycopg.connect(served_bot.direct) as connection:
            (found,) = connection.execute(b"SELECT count(*) " + IN_USE).fetchone() or (0,)
        return int(found)

    for number in range(20):
        assert served_bot.post(f"load {number}") == 200
    served_bot.wait_answered("at last")
    logged = served_bot.server.log
    wait_for(lambda: count() <= 8, or_show=lambda: str(count()))
    assert served_bot.server.log == logged


def test_serve_works_behind_pgbouncer_in_session_mode(
    start_server: StartServer,
    platform: CometChatDriver,
    postgres: PostgresServer,
    make_postgres_database: Callable[[], str],
) -> None:
    direct = make_postgres_database()
    with closing(PgBouncer(Path(postgres.socket).parent)) as pooler:
        url = pooler.url(name_of(direct))
        server = start_server(kind=ServeCommand, COMETBOT_DATABASE_URL=url, COMETBOT_PROCESSES="1")
        count = len(platform.replies())
        assert server.post(platform.callback(platform.write("through a pooler"))).status_code == 200
        platform.wait_replies("maria", count + 1, server)
        assert server.terminate() == 0
    assert "Traceback" not in server.log
