"""What every test starts with."""

import structlog

from hub.testing import programs

# As it is without a set-up, but without the locals of every frame in a traceback: a whole district takes a minute to print.
_plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _plain])

programs.preload("hub.app", "hub.platform.remote.far.program")
