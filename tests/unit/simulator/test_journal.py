from __future__ import annotations

import threading

from cometbot.simulator.journal import Journal, mask_headers, mask_secrets


def journal(size: int = 10) -> Journal:
    return Journal(size, threading.Condition())


def test_entries_of_all_kinds_are_in_one_order() -> None:
    log = journal()
    log.add_change(1.0, "message_sent", {})
    log.add_request(2.0, method="GET", path="/v3/bots", status=200)
    log.add_callback(3.0, target="b", url="u", trigger="after_message", message_id="1", status=200)
    log.add_change(4.0, "message_edited", {})
    assert [entry.to_json()["kind"] for entry in log.since(0)] == ["change", "request", "callback", "change"]
    assert [entry.id for entry in log.since(0)] == [1, 2, 3, 4]
    assert [entry.id for entry in log.since(2)] == [3, 4]
    assert [entry.id for entry in log.since(0, limit=2)] == [1, 2]
    assert log.last_id == 4


def test_a_full_log_drops_the_oldest_and_says_how_many() -> None:
    log = journal(size=3)
    for number in range(5):
        log.add_change(number, f"t{number}", {})
    assert [entry.trigger for entry in log.changes] == ["t2", "t3", "t4"]
    assert log.changes.dropped == 2
    assert (log.changes[0].id, log.changes[-1].id, len(log.changes)) == (3, 5, 3)
    assert [entry.id for entry in log.changes[1:]] == [4, 5]


def test_clear_forgets_entries_and_never_uses_an_id_again() -> None:
    log = journal(size=1)
    log.add_change(0, "a", {})
    log.add_change(0, "b", {})
    log.clear()
    assert (list(log.changes), log.changes.dropped) == ([], 0)
    assert log.add_change(0, "c", {}).id == 3


def test_callback_entry_is_ok_for_2xx() -> None:
    statuses = (0, 200, 204, 302, 500)
    entries = [
        journal().add_callback(0, target="b", url="u", trigger="t", message_id="1", status=status)
        for status in statuses
    ]
    assert [entry.ok for entry in entries] == [False, True, True, False, False]


def test_secret_headers_are_masked_in_any_spelling() -> None:
    masked = mask_headers({"ApiKey": "k", "Authorization": "Basic x", "Accept": "a"})
    assert masked == {"apikey": "***", "authorization": "***", "accept": "a"}


def test_secrets_are_masked_at_any_depth() -> None:
    value = {"data": [{"password": "p", "uid": "u"}, {"authToken": "t"}], "password": ""}
    assert mask_secrets(value) == {"data": [{"password": "***", "uid": "u"}, {"authToken": "***"}], "password": ""}
