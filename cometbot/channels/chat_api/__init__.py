"""An HTTP API to chat with a bot, compatible with Botpress's Chat API, and a client for both."""
