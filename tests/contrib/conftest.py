"""What the tests of all integrations share."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for the session; a test that stops it starts it again."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()
