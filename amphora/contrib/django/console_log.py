"""Shows Amphora's log on the console where the setting ``LOGGING`` sends it nowhere."""

from __future__ import annotations

import logging

__all__ = ["log_to_console"]

#: By ``--verbosity``.
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def log_to_console(verbosity: int) -> None:
    """Add a handler to the logger ``amphora`` if none takes its records; leave all alone otherwise.

    Args:
        verbosity: As Django's option: 0 shows warnings, 1 requests and connections too, 2 and more everything.
    """
    logger = logging.getLogger("amphora")
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("[{asctime}] {levelname} {message}", "%d/%b/%Y %H:%M:%S", style="{"))
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[min(verbosity, len(_LEVELS) - 1)])
