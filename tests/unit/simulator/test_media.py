from __future__ import annotations

from typing import Any

from cometbot.simulator import Simulator


def test_a_presigned_url_loads_the_file_until_it_expires(simulator: Simulator, clock: Any) -> None:
    url = simulator.add_file("load it.png", b"\x89PNG", expires_in=60)
    client = simulator.app.test_client()
    answer = client.get(url)
    assert (answer.status_code, answer.data, answer.mimetype) == (200, b"\x89PNG", "image/png")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get(url.partition("?")[0]).status_code == 403
    assert client.get(url.replace("Expires=1", "Expires=2")).status_code == 403
    clock.time += 61
    assert client.get(url).status_code == 403


def test_token_url_needs_key_and_expires_in_five_minutes(simulator: Simulator, clock: Any) -> None:
    simulator.configure(media_access="token")
    url = simulator.add_file("a.txt", b"hello", "text/x-own")
    client = simulator.app.test_client()
    assert client.get(url).status_code == 401
    assert client.get(url, headers={"appId": simulator.app_id, "apiKey": simulator.auth_key}).status_code == 401
    headers = {"appId": simulator.app_id, "apiKey": simulator.api_key}
    loadable = client.get(url, headers=headers).get_json()["data"]["url"]
    assert loadable.startswith(f"{url}?fat=")
    answer = client.get(loadable)
    assert (answer.data, answer.mimetype) == (b"hello", "text/x-own")
    assert client.get(f"{loadable}0").status_code == 401
    clock.time += 301
    assert client.get(loadable).status_code == 401


def test_a_file_that_was_forgotten_is_404(simulator: Simulator) -> None:
    url = simulator.add_file("a.bin", b"x")
    simulator.reset()
    assert simulator.app.test_client().get(url).status_code == 404


def test_bad_signatures_are_refused_and_never_a_failure(simulator: Simulator) -> None:
    client = simulator.app.test_client()
    for query in ("Expires=x&Signature=y", "Expires=&Signature=ä", "fat=x.y", "fat=ü"):
        for place in ("media", "files"):
            assert client.get(f"/{place}/app/id/name?{query}").status_code in (401, 403)


def test_a_player_gets_the_part_of_a_file_that_it_asks_for(simulator: Simulator) -> None:
    url = simulator.add_file("film.mp4", b"0123456789")
    for header, status, content in (
        ("bytes=2-4", 206, b"234"),
        ("bytes=0-1,5-6", 200, b"0123456789"),
        ("bytes=-99", 206, b"0123456789"),
    ):
        answer = simulator.app.test_client().get(url, headers={"Range": header})
        assert (answer.status_code, answer.data) == (status, content), header
        assert answer.headers["Accept-Ranges"] == "bytes"


def test_a_part_behind_the_end_of_a_file_is_refused(simulator: Simulator) -> None:
    url = simulator.add_file("film.mp4", b"0123456789")
    answer = simulator.app.test_client().get(url, headers={"Range": "bytes=10-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */10")
