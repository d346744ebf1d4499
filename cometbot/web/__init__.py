"""The web application around bots, and how gunicorn runs it."""
