"""A pytest plug-in for Django projects: lets gevent patch the standard library, and has the fixture ``rpc``.

pytest imports it before it imports Django if the settings in pyproject.toml (or pytest.ini, ...) say::

    [tool.pytest.ini_options]
    addopts = "-p amphora.contrib.django.pytest_plugin"

It works with pytest-django and without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gevent import monkey

if not monkey.is_module_patched("socket") and "django.db" not in sys.modules:
    # Before pytest-django imports Django: what it has taken from the standard library by then would stay as it is.
    monkey.patch_all()

import pytest

if TYPE_CHECKING:
    from amphora.contrib.django.testing import ProjectServices

#: Fixtures of pytest-django whose tests commit.
_COMMITTING = frozenset({"transactional_db", "django_db_reset_sequences", "live_server"})


@pytest.fixture
def rpc(request: pytest.FixtureRequest) -> Iterator[ProjectServices]:
    """The project's handlers, run in process on ``memory://`` until the end of the test.

    In a test that commits (``transactional_db``, ``live_server``, ``django_db(transaction=True)``), handlers have
    database connections of their own; in any other, they use those of the test.
    """
    # Not before Django is set up.
    from amphora.contrib.django.testing import ProjectServices  # noqa: PLC0415

    # These come first, and end last: handlers must have ended before a test's transaction is rolled back.
    for name in ("db", *_COMMITTING):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    with ProjectServices(own_connections=_commits(request)) as services:
        yield services


def _commits(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker("django_db")
    if marker is not None:
        named = marker.kwargs.get("transaction") or marker.kwargs.get("reset_sequences")
        if named or any(marker.args[:2]):
            return True
    return not _COMMITTING.isdisjoint(request.fixturenames)
