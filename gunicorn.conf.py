"""``gunicorn wsgi:app``, set up as by ``cometbot serve``; values and reasons stand in ``cometbot/web/server.py``."""

import sys

from cometbot.errors import ConfigurationError
from cometbot.settings import Settings
from cometbot.web.server import gunicorn_config, share_metrics

share_metrics()
try:
    globals().update(gunicorn_config(Settings.from_environment()))
except ConfigurationError as error:
    print(f"cometbot: {error}", file=sys.stderr)
    sys.exit(2)
