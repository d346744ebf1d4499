"""The check that the proxy forwards the addresses of files that bots send."""

from __future__ import annotations

from cometbot.cli.checks.http_client import CheckClient, redact_url
from cometbot.cli.checks.result import CheckResult, failed, passed, skipped
from cometbot.errors import Unreachable
from cometbot.file_links import ROUTE
from cometbot.web.files import MISSING_TEXT

_NAME = "files of bots"


def check_files_route(base_url: str, client: CheckClient) -> CheckResult:
    """Check that a request for a file arrives through the public URL. The file asked for does not exist."""
    if not base_url:
        return skipped(_NAME, "unknown URL: pass --url, or set COMETBOT_PUBLIC_URL, if a bot sends files")
    url = f"{base_url.rstrip('/')}{ROUTE}/doctor/file"
    try:
        reply = client.get(url, {})
    except Unreachable as error:
        return skipped(_NAME, f"the server was not reached: {error}")
    if reply.status == 404 and reply.body == MISSING_TEXT.encode():
        return passed(_NAME, f"{redact_url(base_url)}{ROUTE} reaches the service")
    cause = f"{redact_url(url)}: expected cometbot's answer, got {reply.status} from another program"
    return failed(_NAME, cause, f"let the proxy forward {ROUTE}/ unchanged; docs/proxies.md has recipes")
