"""The platform's config file: its fields and their defaults, what is wrong with one, and reading it again."""

from cometbot.channels.botyard.config.fields import (
    Config,
    FileLimits,
    MessageLimits,
    Service,
    Social,
    UserLimits,
)
from cometbot.channels.botyard.config.live import LiveConfig
from cometbot.channels.botyard.config.loading import load_config, variables

__all__ = [
    "Config",
    "FileLimits",
    "LiveConfig",
    "MessageLimits",
    "Service",
    "Social",
    "UserLimits",
    "load_config",
    "variables",
]
