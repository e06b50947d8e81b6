"""Amphora's pytest plug-in: the fixture ``amphora_services``, see docs/testing.md.

pytest loads it in every run where Amphora is installed: it imports neither gevent nor the library until a test asks
for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from amphora.testing import LocalServices

#: Keeps the event loop of a worker of pytest-xdist.
_kept: list[Any] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and the settings for pyproject.toml and its like."""
    group = parser.getgroup("amphora")
    group.addoption("--amphora-broker", metavar="URL", help="run the services of amphora_services on this broker")
    parser.addini("amphora_broker", "where the services of amphora_services run", default="memory://")
    parser.addini("amphora_patch", "let gevent patch the standard library before tests", type="bool", default=False)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Let gevent patch, where the settings ask for it: before conftest.py and the tests import anything."""
    if early_config.getini("amphora_patch"):
        from gevent import get_hub, monkey  # noqa: PLC0415  (only where it is asked for)

        monkey.patch_all()
        if "PYTEST_XDIST_WORKER" in os.environ:
            # What pytest-xdist wants done comes through a thread that was there before the patching: while a worker
            # waits for that, its event loop has nothing to wait for, and would end.
            waker = get_hub().loop.async_()
            waker.start(lambda: None)
            _kept.append(waker)


@pytest.fixture
def amphora_services(request: pytest.FixtureRequest) -> Iterator[LocalServices]:
    """Make services in the process of the test; see `amphora.testing.LocalServices`.

    ``shop = amphora_services("shop")``. They run on ``memory://``, or where ``--amphora-broker`` or the setting
    ``amphora_broker`` say; so do all clients and servers that the program makes during the test.
    """
    from amphora.testing import LocalServices  # noqa: PLC0415  (see the docstring above)

    url = request.config.getoption("--amphora-broker") or request.config.getini("amphora_broker")
    with LocalServices(url) as services:
        yield services
