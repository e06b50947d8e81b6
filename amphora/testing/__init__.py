"""For tests of programs that call, or serve, remote functions: services in the process of the tests, without a broker.

pytest finds the fixture ``amphora_services`` by itself; see docs/testing.md.
"""

from amphora.testing.recorder import CallRecorder, RecordedCall, call_in_words
from amphora.testing.service import LocalService, LocalServices

__all__ = ["CallRecorder", "LocalService", "LocalServices", "RecordedCall", "call_in_words"]
