"""The simulator's page: a chat with the bots, and a view of callbacks and REST calls, in a browser on this machine."""

from cometbot.simulator.page.views import page_blueprint
from cometbot.simulator.page.workbench import NullWorkbench, Workbench

__all__ = ["NullWorkbench", "Workbench", "page_blueprint"]
