"""The simulator's page: a chat with the bots, and a view of callbacks and REST calls, in a browser on this machine."""
