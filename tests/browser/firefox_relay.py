"""Run Firefox behind a relay that answers what Playwright asks of each browser and Firefox ESR does not know.

It is started in place of Firefox, whose path is its first argument, and reports its own address in Firefox's words.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import threading
from contextlib import suppress

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

UNKNOWN = {"emulation.setMediaFeaturesOverride"}
"""Playwright sends this for each new context, whether or not the test emulates anything."""


def relay(client: ServerConnection, url: str) -> None:
    """Pass messages on in both directions until either side closes."""
    assert client.request is not None
    with connect(url + client.request.path, max_size=None, ping_interval=None) as server_side:
        thread = threading.Thread(target=_relay_back, args=(server_side, client))
        thread.start()
        for message in client:
            command = json.loads(message)
            if command["method"] in UNKNOWN:
                client.send(json.dumps({"type": "success", "id": command["id"], "result": {}}))
            else:
                server_side.send(message)
    thread.join()


def _relay_back(server_side: object, client: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        for message in server_side:  # type: ignore[attr-defined]
            client.send(message)
    client.close()


def main() -> int:
    firefox = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
    assert firefox.stderr is not None
    for line in firefox.stderr:
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
            url = found[1]
            server = serve(functools.partial(relay, url=url), "127.0.0.1", 0, max_size=None, ping_interval=None)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            line = line.replace(url, f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        print(line, end="", file=sys.stderr, flush=True)
    return firefox.wait()


if __name__ == "__main__":
    sys.exit(main())
