"""CometChat's REST API: one module per kind of resource, each with a table of routes."""
