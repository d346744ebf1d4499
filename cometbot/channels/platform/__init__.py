"""The self-hosted platform: a web chat, and APIs that are compatible with Botyard's Client, Bot and Admin API."""
