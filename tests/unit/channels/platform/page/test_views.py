"""The web chat's files: all there, kept by browsers for as long as they are the same, and closed to all else."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cometbot.channels.platform.page.views import FILES, page_blueprint

SCRIPTS = [path for path in FILES.paths() if path.suffix == ".js"]


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(page_blueprint())
    return app.test_client()


@pytest.mark.parametrize("path", ["/", "/bot/01m7xweg9t4sk3k4vgj109s1q0", "/conversation/01m7xweg9t4sk3k4vgjpqgqjzz"])
def test_page_is_served_and_runs_only_its_own_files(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    policy = response.headers["Content-Security-Policy"]
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", response.text)


def test_page_files_exist_and_are_cached_forever(client: FlaskClient) -> None:
    named = set(re.findall(r'(?:href|src)="(/page/[^"]+)"', client.get("/").text))
    assert {f"/page/{FILES.version}/{path.name}" for path in SCRIPTS} <= named
    for path in named:
        response = client.get(path)
        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]


def test_scripts_import_only_each_other() -> None:
    names = {path.name for path in SCRIPTS}
    for path in SCRIPTS:
        text = path.read_text()
        assert set(re.findall(r'from "\./([^"]+)"', text)) <= names
        assert text.count(' from "') == text.count(' from "./')


def test_no_script_writes_markup_or_reaches_for_another_machine() -> None:
    text = "\n".join(path.read_text() for path in FILES.paths())
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert not re.search(r"(?:src|href|import|url)\s*[(=]?\s*[\"'(]https?://(?!www\.openstreetmap)", text)


def test_a_file_of_an_older_page_is_still_there_but_not_kept(client: FlaskClient) -> None:
    response = client.get("/page/0123456789abcdef/main.js")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/page/none.js", "/page/views.py", "/page/x/views.py", "/page/..%2fviews.py"])
def test_what_is_no_file_of_the_page_is_not_there(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404
