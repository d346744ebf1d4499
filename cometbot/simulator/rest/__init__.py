"""CometChat's REST API: one module a kind of thing, each with a table of routes."""
