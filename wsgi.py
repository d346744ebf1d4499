"""The application of the bots that ``COMETBOT_BOT`` names, for ``gunicorn wsgi:app`` and any other WSGI server."""

from cometbot.web.app import load_app

app = load_app()
