"""The chat server over HTTP: uploads, names, ranges, keys and bodies."""

from __future__ import annotations

import html
import os
import re
import socket
import subprocess
import sys
import time
from typing import Any

import jwt
import requests

from tests.cases.case import Case, Finding, check
from tests.cases.server import ROOT, TIMEOUT, Server

PLATFORM, CHAT_API = "platform", "chat_api"


class PlatformUser(requests.Session):
    """A new user of the platform."""

    def __init__(self, server: Server, nickname: str = "Maria") -> None:
        super().__init__()
        self.base = f"{server.url}/v1/client-api"
        answer = self.post(f"{self.base}/user", json={"nickname": nickname}, timeout=TIMEOUT)
        assert answer.status_code == 201, answer.text

    def upload(self, name: str, content: bytes, kind: str = "application/octet-stream") -> requests.Response:
        """The answer to an upload, whose file name is sent as UTF-8, as browsers do."""
        head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'
        body = head.encode() + content + b"\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        return self.post(f"{self.base}/files", data=body, headers=headers, timeout=TIMEOUT)


def serve_platform(case: Case, **variables: str) -> Server:
    return Server(case, COMETBOT_CHANNELS=PLATFORM, **variables).start()


def uploaded(answer: requests.Response) -> dict[str, Any]:
    """The first file of an upload's answer."""
    return dict(answer.json()[0])


@check("chat/01-redos-upload")
def redos_upload(case: Case) -> Finding:
    server = serve_platform(case)
    person, times = PlatformUser(server), []
    for _ in range(4):
        began = time.monotonic()
        try:
            status = str(person.upload("note.txt", case.read("note.txt"), "text/plain").status_code)
        except requests.RequestException as error:
            status = type(error).__name__
        times.append((status, time.monotonic() - began))
    health = server.get("/healthz").status_code
    seen = f"{[f'{status} after {seconds:.1f} s' for status, seconds in times]}, healthz {health}"
    is_well = all(status in ("200", "201") and seconds < 5 for status, seconds in times) and health == 200
    return Finding("stored within a second (5 s on a busy machine), healthz 200", seen, is_well)


@check("chat/06-links-in-text")
def links(case: Case) -> Finding:
    from cometbot.http.page.markdown import to_html

    wrong = []
    for url in case.read("urls.txt").decode().split():
        found = [html.unescape(each) for each in re.findall(r'href="([^"]*)"', to_html(f"See {url} now"))]
        wrong += [] if found == [url] else [f"{url} became {found}"]
    return Finding("each URL is one link to itself", "; ".join(wrong) or "the same", not wrong)


@check("chat/07-slow-upload")
def slow_upload(case: Case) -> Finding:
    server = serve_platform(case)
    person = PlatformUser(server)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = head + b"\xff\xd8\xff\xe0" + b"\0" * 700_000 + b"\r\n--b--\r\n"
    connection = socket.create_connection(("127.0.0.1", server.port))
    case.stack.enter_context(connection)
    lines = (
        f"POST /v1/client-api/files HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Cookie: {'; '.join(f'{cookie.name}={cookie.value}' for cookie in person.cookies)}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    began, sent, first = time.monotonic(), 0, ""
    try:
        connection.sendall(lines.encode())
        for sent in range(0, len(body), 1600):
            connection.sendall(body[sent : sent + 1600])
            time.sleep(0.1)
        connection.settimeout(TIMEOUT)
        first = connection.recv(2000).decode(errors="replace").partition("\r\n")[0]
    except OSError as error:
        first = f"broken at {sent} of {len(body)} bytes: {error}"
    seen = f"{first} after {time.monotonic() - began:.0f} s"
    return Finding("201 after about 44 s", seen, " 201 " in first or " 200 " in first)


@check("chat/08-audio-as-video")
def audio(case: Case) -> Finding:
    person = PlatformUser(serve_platform(case))
    seen = {}
    for name, kind in (("rec-mp42.m4a", "audio/mp4"), ("rec-isom.m4a", "audio/mp4"), ("voice.webm", "video/webm")):
        answer = person.upload(name, case.read(name), kind)
        file = uploaded(answer) if answer.ok else {}
        seen[name] = str(file.get("path", answer.text))
    is_well = all("/audios/" in text for text in seen.values())
    return Finding("static/audios/ for all three", str(seen), is_well)


@check("chat/12-names")
def names(case: Case) -> Finding:
    person = PlatformUser(serve_platform(case))
    wrong = []
    for name in case.read("names.txt").decode().splitlines():
        answer = person.upload(name, b"x" * 10)
        back = uploaded(answer).get("name") if answer.ok else f"{answer.status_code} {answer.text[:80]}"
        wrong += [] if back == name else [f"{name!r} became {back!r}"]
    return Finding("each name as it was uploaded", "; ".join(wrong) or "the same", not wrong)


@check("chat/13-nbf-leeway")
def leeway(case: Case) -> Finding:
    secret = "an encryption key of the cases, long enough"
    server = Server(case, COMETBOT_CHANNELS=CHAT_API, CHAT_API_ENCRYPTION_KEY=secret).start()
    statuses = {}
    for claim, shift in (("nbf", 3), ("nbf", 0), ("exp", -3)):
        key = jwt.encode({"id": "maria", claim: int(time.time()) + shift}, secret, algorithm="HS256")
        answer = requests.get(f"{server.url}/chat/demo_bot/conversations", headers={"x-user-key": key}, timeout=60)
        statuses[f"{claim} {shift:+d} s"] = answer.status_code
    stale = jwt.encode({"id": "maria", "exp": int(time.time()) - 600}, secret, algorithm="HS256")
    old = requests.get(f"{server.url}/chat/demo_bot/conversations", headers={"x-user-key": stale}, timeout=60)
    is_well = all(status == 200 for status in statuses.values())
    names_claim = old.status_code in (401, 403) and "exp" in old.text.lower()
    seen = f"{statuses}; ended 10 minutes ago: {old.status_code} {old.text[:90]}"
    return Finding("not 401 within some seconds; a refusal names the claim", seen, is_well and names_claim)


@check("chat/16-bom")
def byte_order_mark(case: Case) -> Finding:
    server = Server(case, COMETBOT_CHANNELS=f"{PLATFORM},{CHAT_API}").start()
    headers, seen = {"Content-Type": "application/json"}, {}
    body = case.read("body.json")
    seen["Chat API"] = requests.post(f"{server.url}/chat/demo_bot/users", data=body, headers=headers, timeout=60)
    body = body.replace(b'"name"', b'"nickname"')
    seen["platform"] = requests.post(f"{server.url}/v1/client-api/user", data=body, headers=headers, timeout=60)
    statuses = {name: f"{answer.status_code} {answer.text[:80]}" for name, answer in seen.items()}
    return Finding("201 on both", str(statuses), all(answer.status_code in (200, 201) for answer in seen.values()))


@check("chat/19-multi-range")
def ranges(case: Case) -> Finding:
    server = serve_platform(case)
    person = PlatformUser(server)
    file = uploaded(person.upload("note.txt", b"0123456789", "text/plain"))
    answer = person.get(f"{server.url}/{file['path']}", headers={"Range": "bytes=0-1,5-6"}, timeout=TIMEOUT)
    kind = answer.headers.get("Content-Type", "")
    is_parts = answer.status_code == 206 and kind.startswith("multipart/byteranges") and b"56" in answer.content
    is_whole = answer.status_code == 200 and answer.content == b"0123456789"
    return Finding(
        "206 multipart/byteranges, or 200 with the whole file", f"{answer.status_code} {kind}", is_parts or is_whole
    )


@check("chat/23-redos-simplex-media")
def redos_simplex(case: Case) -> Finding:
    command = [sys.executable, str(case.folder / "t.py"), "40"]
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    seconds = time.monotonic() - began
    last = (done.stdout + done.stderr).strip().splitlines()[-1:]
    return Finding(
        "exit 0 within seconds", f"exit {done.returncode} after {seconds:.0f} s: {last}", done.returncode == 0
    )
