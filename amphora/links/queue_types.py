"""Which type the queues of a service get: the configured one, or the one that suits the broker and the service."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AUTO", "CLASSIC", "QUORUM", "Form", "QueueTypes", "release_of"]

AUTO, CLASSIC, QUORUM = "auto", "classic", "quorum"

#: Since this release, a classic queue confirms messages before they are synced to disk.
_UNSYNCED = (4, 0)

_VERSION = re.compile(r"(\d+)\.(\d+)")


def release_of(connection: Any) -> tuple[int, int] | None:
    """Return the release of RabbitMQ that a connection leads to, such as (4, 3); None for any other broker."""
    told: Mapping[str, Any] = getattr(connection, "server_properties", None) or {}
    version = _VERSION.match(str(told.get("version", "")))
    if version is None or told.get("product") != "RabbitMQ":
        return None
    return int(version[1]), int(version[2])


@dataclass(frozen=True)
class Form:
    """Arguments that a queue may be declared with.

    Attributes:
        arguments: The arguments.
        queue_type: The type that a queue with these has.
        lacking: Whether they lack the type or the delivery limit that this release declares, as those of earlier ones.
    """

    arguments: Mapping[str, Any]
    queue_type: str
    lacking: bool = False


@dataclass
class QueueTypes:
    """The types of the queues of one service, as one endpoint knows them.

    With ``auto``, a queue that exists stays as it is. A new one gets the type of the service's own queue, where that
    exists with another type than a new service would have: a service whose queues are classic has programs that name
    that type. Otherwise it gets the type that suits the release of the broker.

    Attributes:
        configured: ``classic``, ``quorum`` or ``auto``.
        found: Type of the service's own queue when it was last declared; None before that.
        on_found: Called with that type each time.
    """

    configured: str
    found: str | None = None
    on_found: Callable[[str], None] | None = None
    _kept: str | None = field(default=None, repr=False)

    @property
    def automatic(self) -> bool:
        """Whether the types are not configured."""
        return self.configured == AUTO

    @property
    def current(self) -> str:
        """Type of the service's own queue, as far as that is known."""
        return self.found or (CLASSIC if self.automatic else self.configured)

    def preferred(self, release: tuple[int, int] | None) -> str:
        """Return the type of a new queue that lasts, on a broker of this release."""
        return self._kept or self._usual(release)

    def note(self, queue_type: str, release: tuple[int, int] | None) -> None:
        """Note the type of the service's own queue."""
        self.found = queue_type
        self._kept = None if queue_type == self._usual(release) else queue_type
        if self.on_found is not None:
            self.on_found(queue_type)

    def in_order(
        self, forms: Iterable[Form], release: tuple[int, int] | None, *, temporary: bool = False
    ) -> list[Form]:
        """Return forms in the order in which they are to be tried.

        Args:
            forms: The forms of one queue.
            release: Release of the broker.
            temporary: Whether the queue is one that expires: with ``auto``, such queues are classic.
        """
        preferred = CLASSIC if temporary and self.automatic else self.preferred(release)
        forms = list(forms)
        # The usual one of each type first: they are what most queues have.
        usual = {form.queue_type: form for form in reversed(forms) if not form.lacking}.values()
        return sorted(forms, key=lambda form: (form.lacking, form not in usual, form.queue_type != preferred))

    def _usual(self, release: tuple[int, int] | None) -> str:
        if not self.automatic:
            return self.configured
        return QUORUM if release is not None and release >= _UNSYNCED else CLASSIC
