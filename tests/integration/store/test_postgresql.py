"""PostgreSQL whose connections break, run out, or lead to a server that takes no writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from cometbot.bot import Bot
from cometbot.delivery import Delivery
from cometbot.errors import StoreBusy, StoreUnavailable
from cometbot.store import failures, postgresql
from cometbot.store.database import ACK_TIMEOUT, Database
from cometbot.store.factory import database_from_url
from cometbot.store.leases import ProcessRegistration
from cometbot.store.tables import facts, mailbox
from cometbot.testing.fake_channel import FakeChannel
from tests.ports import HOST
from tests.postgres_server import PostgresServer
from tests.tcp_proxy import TcpProxy

TIMEOUT = 60.0
"""Seconds after which a test gives up."""


def wait_until(condition: Callable[[], Any]) -> None:
    ends_at = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[TcpProxy]:
    """A way to the server of ``postgres_url``."""
    with closing(TcpProxy(postgres.socket)) as made:
        yield made


@pytest.fixture
def url(proxy: TcpProxy, postgres_url: str) -> str:
    """The database behind ``proxy``."""
    given = sa.make_url(postgres_url)
    return f"postgresql://{given.username}@{HOST}:{proxy.port}/{given.database}"


@pytest.fixture
def opened(url: str) -> Iterator[Database]:
    with closing(database_from_url(url)) as made:
        made.open()
        yield made


@pytest.fixture
def direct(postgres_url: str) -> Iterator[Database]:
    """A database without a proxy: what the server sends before it ends a connection has arrived by then."""
    with closing(database_from_url(postgres_url)) as made:
        made.open()
        yield made


@pytest.fixture
def delivery(url: str) -> Iterator[Delivery]:
    """A delivery that takes in and handles nothing."""
    with closing(Delivery([Bot("helpdesk")], [FakeChannel()], url)) as made:
        made.database.open()
        yield made


def deliver(delivery: Delivery, text: str) -> bool:
    channel: Any = delivery.channels["fake"]
    return delivery.enqueue(channel.incoming(delivery.bots["helpdesk"], text, id=text))


def stored_texts(delivery: Delivery) -> list[str]:
    with delivery.database.read() as connection:
        return list(connection.execute(sa.select(mailbox.c.event_key).order_by(mailbox.c.seq)).scalars())


def terminate_all(postgres_url: str) -> int:
    """End all connections to the database, as an administrator does; return their number when they are gone."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        ended = connection.execute(f"SELECT pg_terminate_backend(pid) {others}".encode()).fetchall()
        wait_until(lambda: connection.execute(f"SELECT count(*) {others}".encode()).fetchone() == (0,))
    return len(ended)


def add_fact(connection: sa.Connection) -> None:
    connection.execute(facts.insert().values(name="a", value="1"))


def count_facts(opened: Database) -> int:
    with opened.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(facts).where(facts.c.name == "a")).scalar_one()


def write(opened: Database) -> None:
    with opened.write() as connection:
        add_fact(connection)


def write_in_time(opened: Database) -> None:
    with opened.write(timeout=ACK_TIMEOUT) as connection:
        add_fact(connection)


USES: list[Callable[[Database], object]] = [
    write,
    write_in_time,
    count_facts,
    lambda opened: opened.autocommit(add_fact),
    lambda opened: opened.autocommit(add_fact, durable=False),
    lambda opened: opened.group_commit(add_fact),
    lambda opened: opened.group_commit(add_fact, timeout=ACK_TIMEOUT),
    lambda opened: opened.problem(),
]


@pytest.mark.parametrize("use", USES)
def test_terminated_connections_are_replaced(
    direct: Database, postgres_url: str, use: Callable[[Database], object]
) -> None:
    with direct.read(), direct.write(durable=False), direct.write():
        pass  # three connections are idle afterwards
    assert terminate_all(postgres_url) >= 3
    use(direct)


@pytest.mark.parametrize("use", USES)
def test_connections_cut_on_the_way_are_replaced(
    opened: Database, proxy: TcpProxy, use: Callable[[Database], object]
) -> None:
    with opened.read(), opened.write(durable=False):
        pass
    proxy.cut()
    use(opened)


def test_silent_connections_are_replaced_in_time(
    opened: Database, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_MAX_IDLE_WITHOUT_PING", 0.0)
    with opened.read(), opened.write():
        pass
    old, proxy.is_silent = proxy.connections, True
    asked = threading.Event()

    def answer_new_ones() -> None:
        wait_until(lambda: proxy.connections > old)
        proxy.is_silent = False
        asked.set()

    threading.Thread(target=answer_new_ones, daemon=True).start()
    # A new connection is silent until the proxy counts it, which drops its first piece at most once.
    opened.group_commit(add_fact, is_idempotent=True)
    assert asked.wait(TIMEOUT)
    assert count_facts(opened) == 1


def test_put_after_restart_is_acknowledged(delivery: Delivery, postgres: PostgresServer, url: str) -> None:
    assert deliver(delivery, "one")
    postgres.pg_ctl_start("restart")
    assert deliver(delivery, "two")
    assert stored_texts(delivery) == ["message:one", "message:two"]


def lose_next_commit(proxy: TcpProxy) -> None:
    """Drop the server's answer to the next commit, with the connection."""

    def is_commit(piece: bytes) -> bool:
        if b"COMMIT" not in piece:
            return False
        proxy.lose_answer = lambda piece: False
        return True

    proxy.lose_answer = is_commit


def test_put_whose_commit_is_not_answered_is_new(delivery: Delivery, proxy: TcpProxy) -> None:
    woken: list[str] = []
    delivery._notifier.notify = lambda conversation_key, **more: woken.append(conversation_key)  # type: ignore[method-assign]
    lose_next_commit(proxy)
    assert deliver(delivery, "one")
    assert stored_texts(delivery) == ["message:one"]
    assert len(woken) == 1
    assert not deliver(delivery, "one")


def test_redelivery_after_a_lost_commit_is_known(delivery: Delivery, proxy: TcpProxy) -> None:
    target = proxy.target

    def lose_and_leave(piece: bytes) -> bool:
        is_commit = b"COMMIT" in piece
        if is_commit:
            proxy.lose_answer, proxy.target = (lambda piece: False), "/nowhere"
        return is_commit

    proxy.lose_answer = lose_and_leave
    with pytest.raises(StoreBusy):
        deliver(delivery, "one")
    proxy.target = target
    assert stored_texts(delivery) == ["message:one"]
    assert not deliver(delivery, "one")


def test_send_whose_commit_is_not_answered_is_stored_once(delivery: Delivery, proxy: TcpProxy) -> None:
    from cometbot.messages import Text
    from cometbot.store.tables import outbox

    lose_next_commit(proxy)
    delivery.send(delivery.bots["helpdesk"], Text("hello"), user="maria")
    with delivery.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one() == 1


def test_other_work_is_not_repeated_after_its_commit(opened: Database, proxy: TcpProxy) -> None:
    lose_next_commit(proxy)
    with pytest.raises(StoreBusy):
        opened.group_commit(add_fact)
    assert count_facts(opened) == 1


def test_work_that_broke_before_its_commit_is_repeated(opened: Database, proxy: TcpProxy) -> None:
    attempts: list[int] = []

    def work(connection: sa.Connection) -> None:
        attempts.append(len(attempts))
        add_fact(connection)
        if len(attempts) == 1:
            proxy.cut()
            connection.execute(sa.text("SELECT 1"))

    opened.group_commit(work)
    assert attempts == [0, 1]
    assert count_facts(opened) == 1


def test_server_that_is_away_is_logged_once(
    opened: Database, proxy: TcpProxy, caplog: pytest.LogCaptureFixture
) -> None:
    target, proxy.target = proxy.target, "/nowhere"
    proxy.cut()
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as caught:
            opened.group_commit(add_fact, timeout=ACK_TIMEOUT)
        assert caught.value.kind == failures.UNREACHABLE
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert "Start the PostgreSQL server" in caplog.text
    proxy.target = target
    opened.group_commit(add_fact, timeout=ACK_TIMEOUT)
    assert opened.problem() == ""


def test_unstarted_process_stops_without_an_error(proxy: TcpProxy, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_database(self: ProcessRegistration) -> None:
        raise StoreBusy("away")

    monkeypatch.setattr(ProcessRegistration, "heartbeat", lose_database)
    with closing(Delivery([Bot("helpdesk")], [FakeChannel()], url)) as delivery, pytest.raises(StoreBusy, match="away"):
        delivery.start()


@pytest.fixture
def read_only(postgres: PostgresServer, postgres_url: str) -> Iterator[Callable[[bool], None]]:
    """Makes the database take no writes on new and old connections, as a standby does, and take them again."""
    name = sa.make_url(postgres_url).database

    def switch(on: bool) -> None:
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {'on' if on else 'off'}")

    yield switch
    switch(False)


@pytest.mark.parametrize("use", USES[:2] + USES[3:7])
def test_standby_is_reported_with_words(
    direct: Database,
    postgres_url: str,
    read_only: Callable[[bool], None],
    caplog: pytest.LogCaptureFixture,
    use: Callable[[Database], object],
) -> None:
    read_only(True)
    terminate_all(postgres_url)
    with pytest.raises(StoreUnavailable) as caught:
        use(direct)
    assert caught.value.kind == failures.STANDBY
    assert "read-only transaction" in caplog.text
    assert "target_session_attrs=read-write" in caplog.text


def test_standby_is_a_problem_until_it_is_primary(
    direct: Database, postgres_url: str, read_only: Callable[[bool], None]
) -> None:
    read_only(True)
    terminate_all(postgres_url)
    assert "standby or read-only" in direct.problem()
    read_only(False)
    terminate_all(postgres_url)
    assert direct.problem() == ""


def test_write_on_old_standby_connections_finds_the_primary(
    direct: Database, postgres_url: str, read_only: Callable[[bool], None]
) -> None:
    read_only(True)
    terminate_all(postgres_url)
    count_facts(direct)  # leaves a connection that takes no writes
    read_only(False)
    direct.group_commit(add_fact, timeout=ACK_TIMEOUT)


def test_too_many_connections_are_reported_with_words(
    direct: Database, postgres: PostgresServer, postgres_url: str
) -> None:
    name = sa.make_url(postgres_url).database
    terminate_all(postgres_url)
    postgres.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    postgres.execute("DO $$ BEGIN CREATE ROLE plain LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    limited = database_from_url(direct.server_url.replace("postgres@", "plain@"))
    with closing(limited):
        with pytest.raises(StoreUnavailable) as caught, limited.read():
            pass  # pragma: no cover
        assert caught.value.kind == failures.TOO_MANY_CONNECTIONS
        assert "too many connections" in limited.failures.problem

        # As soon as the server has room, a process that found it full works.
        postgres.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
        with limited.read() as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
        assert limited.problem() == ""


def backends(postgres_url: str) -> int:
    query = b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(postgres_url) as connection:
        (found,) = connection.execute(query).fetchone() or (0,)
    return int(found)


def test_a_process_opens_a_bounded_number_of_connections(opened: Database, postgres_url: str) -> None:
    with ThreadPoolExecutor(40) as threads:
        list(
            threads.map(
                lambda number: opened.group_commit(lambda connection: None, durable=number % 2 == 0), range(200)
            )
        )
        list(threads.map(lambda number: count_facts(opened), range(200)))
    assert 1 <= backends(postgres_url) <= postgresql.POOL_SIZE


def test_acknowledgements_pass_writes_that_wait(opened: Database) -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()

    def hold(connection: sa.Connection) -> None:
        entered.release()
        go_on.wait(TIMEOUT)

    ordinary = postgresql.POOL_SIZE - postgresql.RESERVED_CONNECTIONS
    with ThreadPoolExecutor(ordinary * 2) as threads:
        for _ in range(ordinary * 2):
            threads.submit(opened.group_commit, hold)
        for _ in range(ordinary):
            assert entered.acquire(timeout=TIMEOUT)
        opened.group_commit(add_fact, timeout=TIMEOUT)
        go_on.set()


def test_relaxed_and_durable_commits_share_connections(opened: Database) -> None:
    def synchronous(connection: sa.Connection) -> str:
        return str(connection.execute(sa.text("SHOW synchronous_commit")).scalar())

    for _ in range(3):
        assert opened.group_commit(synchronous, durable=False) == "off"
        assert opened.group_commit(synchronous) == "on"
        assert opened.autocommit(synchronous, durable=False) == "off"
        assert opened.autocommit(synchronous) == "on"


def test_only_what_a_request_waits_for_has_a_time_limit(opened: Database) -> None:
    def limit(connection: sa.Connection) -> str:
        return str(connection.execute(sa.text("SHOW statement_timeout")).scalar())

    assert opened.group_commit(limit, timeout=ACK_TIMEOUT) == "1s"
    assert opened.group_commit(limit) == "0"
