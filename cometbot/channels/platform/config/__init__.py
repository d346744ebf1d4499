"""The platform's config file: its fields and defaults, validation, and reloading."""

from cometbot.channels.platform.config.fields import (
    Config,
    FileLimits,
    MessageLimits,
    Service,
    Social,
    UserLimits,
)
from cometbot.channels.platform.config.loading import config_variables, load_config
from cometbot.channels.platform.config.reloadable import ReloadableConfig

__all__ = [
    "Config",
    "FileLimits",
    "MessageLimits",
    "ReloadableConfig",
    "Service",
    "Social",
    "UserLimits",
    "config_variables",
    "load_config",
]
