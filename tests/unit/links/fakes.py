"""What connections of tests have in common, beside what a test is about."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from amphora.core.suspicion import Suspicion


class FakeConnection:
    """The attributes of a `amphora.driver.ports.ConnectionPort` that is up, to whatever broker."""

    connected = True
    heartbeat = 0.0
    in_hand: bytes | None = None
    server_properties: Mapping[str, Any] = {}
    suspicion = Suspicion()
    tls_session = None

    def answer_within(self, seconds: float) -> AbstractContextManager[None]:
        """Wait for answers as long as they take."""
        return nullcontext()
