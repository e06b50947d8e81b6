"""`ReconnectLog`: what the log says while a connection is away, a handful of lines instead of one for each attempt."""

from __future__ import annotations

import logging
from time import monotonic

from amphora.exceptions import BrokerError
from amphora.logs.note_log import NoteLogger
from amphora.options.brokers import BrokerAddress

__all__ = ["ReconnectLog"]

# That of the link whose lines these are.
logger = NoteLogger("amphora.links.connection")

#: While the broker is away, a reminder is logged every so many seconds.
_REMINDER = 60.0

#: A connection that breaks again and again is logged as lost only when it is away for so many seconds.
_PATIENCE = 5.0


class ReconnectLog:
    """Counts failed attempts, and logs a handful of lines about them instead of one each.

    Args:
        name: What operators see in the log.

    Attributes:
        failures: How many attempts have failed since the connection had lasted.
    """

    def __init__(self, name: str) -> None:
        self.failures = 0
        self._name = name
        self._ever_connected = self._down = self._told_down = False
        self._began = self._lost = self._reminded = 0.0
        self._told: set[type[BrokerError] | type[None]] = set()

    def failed(self, trouble: BrokerError | None) -> None:
        """Note one more failed attempt, or a lost connection."""
        now = monotonic()
        self.failures += 1
        if not self._down:
            self._down, self._lost = True, now
            if self.failures == 1:
                self._began = now
                self._told.clear()
        if type(trouble) not in self._told:
            # A trouble of another kind needs another remedy: a broker that is back, but refuses the password.
            self._told.add(type(trouble))
            again = self._ever_connected and self.failures == 1
            self._warn(now, "%s: %s; %s", self._name, trouble, "connecting again" if again else "trying again")
        elif now - self._reminded >= _REMINDER or (not self._told_down and now - self._lost >= _PATIENCE):
            text = "%s: still not connected after %.0f s and %d attempts: %s"
            self._warn(now, text, self._name, now - self._began, self.failures, trouble)
        else:
            logger.debug("%s: %s", self._name, trouble)

    def end(self, address: BrokerAddress) -> None:
        """Note that the connection is up."""
        if not self._down:
            logger.info("%s: connected to %s", self._name, address)
        else:
            level = logging.INFO if self._told_down else logging.DEBUG
            again = " again" if self._ever_connected else ""
            away = monotonic() - self._began
            logger.log(level, "%s: connected to %s%s after %.1f s", self._name, address, again, away)
        self._ever_connected = True
        self._down = self._told_down = False

    def steady(self) -> None:
        """Note that the connection had lasted: the next attempt is the first again."""
        self.failures = 0

    def _warn(self, now: float, text: str, *args: object) -> None:
        logger.warning(text, *args)
        self._reminded, self._told_down = now, True
