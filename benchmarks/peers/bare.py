"""A Flask view that reads its JSON and does nothing else: what any webhook in Flask costs."""

from __future__ import annotations

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/events")
def events() -> Response:
    request.get_json()
    return Response(b'{"ok":true}', content_type="application/json")
