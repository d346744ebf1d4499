"""The Model Context Protocol: servers whose tools a bot's model may call, and a bot's tools as a server."""

from __future__ import annotations

from cometbot.mcp.client import McpServer

__all__ = ["McpServer"]
