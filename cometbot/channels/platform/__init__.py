"""The self-hosted platform, with Botyard's Client, Bot and Admin API, and its web chat."""
