"""The web application that serves bots, and the configuration of gunicorn to run it."""
