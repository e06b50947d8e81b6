"""A pytest plug-in that completes `caplog`: it waits for the records that Amphora emits a moment after the call."""

import pytest

from amphora.logs.note_log import flush_notes

_handler = pytest.LogCaptureFixture.handler


def _flushed_handler(self: pytest.LogCaptureFixture) -> object:
    flush_notes(5)
    return _handler.__get__(self)


# All that a test reads of `caplog` (records, text, messages) comes from its handler. The class is final.
setattr(pytest.LogCaptureFixture, "handler", property(_flushed_handler))  # noqa: B010  (mypy knows it as read-only)
