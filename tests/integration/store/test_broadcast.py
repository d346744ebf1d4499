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

from cometbot.store.broadcast import TEXT_LIMIT, Broadcast, Neighbours, Silence, broadcast
from cometbot.store.database import Database, database
from cometbot.temporary_folders import TemporaryFolder


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short name: a socket's path may have 107 characters."""
    with TemporaryFolder("test") as folder:
        monkeypatch.setattr("cometbot.store.datagrams.gettempdir", lambda: str(folder))
        yield folder


Make = Callable[..., Broadcast]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        made = database(request.getfixturevalue("postgres_url"))
    else:
        made = database(f"sqlite:///{tmp_path}/cometbot.db")
    made.open()
    yield made
    made.close()


@pytest.fixture
def make(opened: Database) -> Iterator[Make]:
    """Makes what a process has; each stands for a process of its own."""
    made: list[Broadcast] = []

    def begin(name: str = "news") -> Broadcast:
        made.append(broadcast(opened, name))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def tell_until_heard(teller: Broadcast, heard: queue.SimpleQueue[str], said: str) -> None:
    """Until all is set up, texts are lost."""
    for _ in range(100):
        teller.tell(said)
        try:
            while heard.get(timeout=0.1) != said:
                pass
        except queue.Empty:
            continue
        return
    pytest.fail("nothing was ever heard")


def next_of(heard: queue.SimpleQueue[str], told: str = "begin") -> str:
    """The next text but for those that were told until they were heard."""
    while (text := heard.get(timeout=60)) == told:
        continue
    return text


def drain(heard: queue.SimpleQueue[str]) -> None:
    """Leave out what comes for having been told again and again."""
    try:
        while True:
            heard.get(timeout=0.3)
    except queue.Empty:
        return


def test_all_others_hear_it_whole_and_who_tells_does_not(make: Make) -> None:
    teller, one, other, deaf = make(), make(), make(), make("olds")
    own, first, second, third = (queue.SimpleQueue[str]() for _ in range(4))
    for each, heard in ((teller, own), (one, first), (other, second), (deaf, third)):
        each.listen(heard.put)
    tell_until_heard(teller, first, "begin")
    tell_until_heard(teller, second, "begin")
    for heard in (own, first, second, third):
        drain(heard)
    said = "ünïcode:" + "x" * (TEXT_LIMIT - 20)
    teller.tell(said)
    assert [next_of(first), next_of(second)] == [said, said]
    drain(own)
    assert third.empty()


def test_many_texts_come_in_their_order(make: Make) -> None:
    teller, listener = make(), make()
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    listener.listen(heard.put)
    tell_until_heard(teller, heard, "begin")
    drain(heard)
    for nth in range(200):
        teller.tell(f"{nth}")
    assert [next_of(heard) for _ in range(200)] == [f"{nth}" for nth in range(200)]


def test_telling_without_listeners_and_after_the_end_does_nothing(make: Make) -> None:
    teller = make()
    teller.tell("to nobody")
    teller.close()
    teller.tell("to nobody")
    teller.close()


@pytest.mark.parametrize("opened", ["sqlite"], indirect=True)  # PostgreSQL forgets them itself
def test_a_process_that_died_is_forgotten(make: Make, own_folder: Path) -> None:
    teller, listener = make(), make()
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    listener.listen(heard.put)
    [folder] = own_folder.glob("cometbot-*")
    dead = folder / "news-dead.sock"
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    gone.bind(str(dead))
    gone.close()
    tell_until_heard(teller, heard, "hello")
    assert not dead.exists()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_is_told_in_a_folder_that_others_may_enter(own_folder: Path) -> None:
    teller = Neighbours("/db", "news")
    folder = teller._datagrams._folder
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as spy:
        spy.bind(str(folder / "news-spy.sock"))
        spy.settimeout(0.2)
        teller.tell("a secret")
        with pytest.raises(TimeoutError):
            spy.recv(100)


def test_a_listener_comes_back_after_its_database_connection_broke(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cometbot.store.notices._RETRY", 0.05)
    opened = database(postgres_url)
    opened.open()
    teller, listener = broadcast(opened, "news"), broadcast(opened, "news")
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    listener.listen(heard.put)
    tell_until_heard(teller, heard, "before")
    drain(heard)
    with opened.write() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        connection.execute(text(cut))
    assert heard.get(timeout=10) == "", "something may have been missed"
    tell_until_heard(teller, heard, "after")
    for each in (teller, listener):
        each.close()
    opened.close()


def test_a_database_in_memory_has_nobody_to_tell() -> None:
    opened = database("sqlite://")
    alone = broadcast(opened, "news")
    assert isinstance(alone, Silence)
    alone.listen(lambda text: None)
    alone.tell("x")
    alone.close()
    opened.close()


def test_who_stops_listening_leaves_no_socket(own_folder: Path) -> None:
    listener = Neighbours("/db", "news")
    listener.listen(lambda text: None)
    [folder] = own_folder.glob("cometbot-*")
    assert len(list(folder.glob("*.sock"))) == 1
    listener.close()
    end = time.monotonic() + 60
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not folder.exists()
