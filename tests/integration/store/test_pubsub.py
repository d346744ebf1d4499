"""Texts from process to process: quick where they arrive, harmless where they do not."""

from __future__ import annotations

import queue
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from cometbot.store.database import Database
from cometbot.store.factory import create_pubsub, database_from_url
from cometbot.store.pubsub import MAX_TEXT_SIZE, LocalPubSub, NullPubSub, PubSub
from cometbot.temporary_folders import TemporaryFolder


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short name: a socket's path may have 107 characters."""
    with TemporaryFolder("test") as folder:
        monkeypatch.setattr("cometbot.store.datagram_socket.gettempdir", lambda: str(folder))
        yield folder


Make = Callable[..., PubSub]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        made = database_from_url(request.getfixturevalue("postgres_url"))
    else:
        made = database_from_url(f"sqlite:///{tmp_path}/cometbot.db")
    made.open()
    yield made
    made.close()


@pytest.fixture
def make(opened: Database) -> Iterator[Make]:
    """Makes what a process has; each stands for a process of its own."""
    made: list[PubSub] = []

    def begin(name: str = "news") -> PubSub:
        made.append(create_pubsub(opened, name))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def publish_until_received(publisher: PubSub, received: queue.SimpleQueue[str], message: str) -> None:
    """Until all is set up, texts are lost."""
    for _ in range(100):
        publisher.publish(message)
        try:
            while received.get(timeout=0.1) != message:
                pass
        except queue.Empty:
            continue
        return
    pytest.fail("nothing was ever heard")


def next_message(received: queue.SimpleQueue[str], ignored: str = "begin") -> str:
    """The next text but for those that were told until they were heard."""
    while (text := received.get(timeout=60)) == ignored:
        continue
    return text


def drain(received: queue.SimpleQueue[str]) -> None:
    """Leave out what comes for having been told again and again."""
    try:
        while True:
            received.get(timeout=0.3)
    except queue.Empty:
        return


def test_message_reaches_all_but_its_publisher(make: Make) -> None:
    publisher, one, other, other_channel = make(), make(), make(), make("olds")
    own, first, second, third = (queue.SimpleQueue[str]() for _ in range(4))
    for each, received in ((publisher, own), (one, first), (other, second), (other_channel, third)):
        each.subscribe(received.put)
    publish_until_received(publisher, first, "begin")
    publish_until_received(publisher, second, "begin")
    for received in (own, first, second, third):
        drain(received)
    message = "ünïcode:" + "x" * (MAX_TEXT_SIZE - 20)
    publisher.publish(message)
    assert [next_message(first), next_message(second)] == [message, message]
    drain(own)
    assert third.empty()


def test_many_texts_come_in_their_order(make: Make) -> None:
    publisher, subscriber = make(), make()
    received: queue.SimpleQueue[str] = queue.SimpleQueue()
    subscriber.subscribe(received.put)
    publish_until_received(publisher, received, "begin")
    drain(received)
    for nth in range(200):
        publisher.publish(f"{nth}")
    assert [next_message(received) for _ in range(200)] == [f"{nth}" for nth in range(200)]


def test_publish_without_subscribers_or_closed_does_nothing(make: Make) -> None:
    publisher = make()
    publisher.publish("to nobody")
    publisher.close()
    publisher.publish("to nobody")
    publisher.close()


@pytest.mark.parametrize("opened", ["sqlite"], indirect=True)  # PostgreSQL forgets them itself
def test_socket_of_a_dead_process_is_removed(make: Make, own_folder: Path) -> None:
    publisher, subscriber = make(), make()
    received: queue.SimpleQueue[str] = queue.SimpleQueue()
    subscriber.subscribe(received.put)
    [folder] = own_folder.glob("cometbot-*")
    dead = folder / "news-dead.sock"
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    gone.bind(str(dead))
    gone.close()
    publish_until_received(publisher, received, "hello")
    assert not dead.exists()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_is_sent_in_a_shared_folder(own_folder: Path) -> None:
    publisher = LocalPubSub("/db", "news")
    folder = publisher._socket._folder
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as spy:
        spy.bind(str(folder / "news-spy.sock"))
        spy.settimeout(0.2)
        publisher.publish("a secret")
        with pytest.raises(TimeoutError):
            spy.recv(100)


def test_subscriber_reconnects_after_a_broken_connection(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cometbot.store.postgresql_pubsub._RECONNECT_INTERVAL", 0.05)
    opened = database_from_url(postgres_url)
    opened.open()
    publisher, subscriber = create_pubsub(opened, "news"), create_pubsub(opened, "news")
    received: queue.SimpleQueue[str] = queue.SimpleQueue()
    subscriber.subscribe(received.put)
    publish_until_received(publisher, received, "before")
    drain(received)
    with opened.write() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        connection.execute(text(cut))
    assert received.get(timeout=10) == "", "something may have been missed"
    publish_until_received(publisher, received, "after")
    for each in (publisher, subscriber):
        each.close()
    opened.close()


def test_memory_database_has_a_null_pubsub() -> None:
    opened = database_from_url("sqlite://")
    pubsub = create_pubsub(opened, "news")
    assert isinstance(pubsub, NullPubSub)
    pubsub.subscribe(lambda text: None)
    pubsub.publish("x")
    pubsub.close()
    opened.close()


def test_closed_subscriber_leaves_no_socket(own_folder: Path) -> None:
    subscriber = LocalPubSub("/db", "news")
    subscriber.subscribe(lambda text: None)
    [folder] = own_folder.glob("cometbot-*")
    assert len(list(folder.glob("*.sock"))) == 1
    subscriber.close()
    end = time.monotonic() + 60
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not folder.exists()
