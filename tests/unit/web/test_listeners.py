from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from cometbot.errors import ConfigurationError
from cometbot.web import listeners as module
from cometbot.web.gunicorn_overrides import socket_hooks
from cometbot.web.listeners import find_group


def test_without_a_group_there_are_no_hooks() -> None:
    assert socket_hooks("") == {}


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"COMETBOT_SOCKET_GROUP: expected a group .* got 'nowhere-9'"):
        socket_hooks("nowhere-9")


def test_a_group_is_found_by_name_and_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=33))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (find_group("www-data"), find_group("0033")) == (33, 33)


def test_a_group_without_this_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [4])
    assert find_group("4") == 4
    with pytest.raises(ConfigurationError, match="usermod -aG 33 USER"):
        find_group("33")


@pytest.mark.parametrize(("systemd", "given"), [(False, [("/run/socket", -1, os.getegid())]), (True, [])])
def test_only_own_unix_sockets_get_the_group(
    monkeypatch: pytest.MonkeyPatch, systemd: bool, given: list[tuple[str, int, int]]
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(os, "chown", lambda *values: calls.append(values))
    listeners = [
        SimpleNamespace(FAMILY=socket.AF_INET, cfg_addr=("127.0.0.1", 8000)),
        SimpleNamespace(FAMILY=socket.AF_UNIX, cfg_addr="/run/socket"),
    ]
    server = SimpleNamespace(systemd=systemd, LISTENERS=listeners)
    hooks = socket_hooks(str(os.getegid()))
    for name in ("when_ready", "on_reload"):
        hooks[name](server)
    assert calls == given * 2
