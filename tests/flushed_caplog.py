"""A pytest plug-in whose `caplog` waits for the records that Amphora emits a moment after they were logged."""

from collections.abc import Iterator

import pytest
from _pytest.logging import LogCaptureHandler

from amphora.note_log import flush_notes


class FlushedCaplog(pytest.LogCaptureFixture):
    """`pytest.LogCaptureFixture`, complete up to the moment at which it is looked at."""

    @property
    def handler(self) -> LogCaptureHandler:
        """The handler behind ``records``, ``text`` and the rest."""
        flush_notes(5)
        return super().handler


@pytest.fixture
def caplog(request: pytest.FixtureRequest) -> Iterator[pytest.LogCaptureFixture]:
    """Access to the log records of the test."""
    fixture = FlushedCaplog(request.node, _ispytest=True)
    yield fixture
    fixture._finalize()
