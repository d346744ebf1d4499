"""The Chat API: an HTTP API to chat with a bot, compatible with Botpress's, and a client for both."""
