"""A database of PostgreSQL, and services of this process whose functions use it."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections
from django.test import override_settings

from amphora import CurrentRequest
from amphora.contrib.django import clients, servers
from amphora.contrib.django.endpoints import LazyClient, LazyServer
from tests.support.broker import Broker
from tests.support.postgres import USER, Postgres

#: Alias of PostgreSQL in DATABASES, for the time of a test.
ALIAS = "postgres"


@pytest.fixture
def database_name(postgres: Postgres) -> str:
    """An empty database that no other test uses."""
    name = f"test_{uuid4().hex[:8]}"
    postgres.create_database(name)
    return name


@pytest.fixture
def use_postgres(postgres: Postgres, database_name: str) -> Iterator[Callable[..., None]]:
    """Add the database to DATABASES as `ALIAS`, with settings on top."""

    def use(**options: Any) -> None:
        given = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database_name,
            "USER": USER,
            "HOST": postgres.host,
            **options,
        }
        connections.settings[ALIAS] = connections.configure_settings({"default": {}, ALIAS: given})[ALIAS]

    yield use
    connections[ALIAS].close()
    if hasattr(connections[ALIAS], "close_pool"):
        connections[ALIAS].close_pool()
    del connections[ALIAS]
    del connections.settings[ALIAS]


class Service:
    """A server and a client of one service in this process."""

    def __init__(self, alias: str) -> None:
        self.server: LazyServer = servers[alias]
        self.client: LazyClient = clients[alias]


@pytest.fixture
def start_service(broker: Broker, service: str) -> Iterator[Callable[..., Service]]:
    """Make the endpoints of an alias of its own; settings as in AMPHORA. A test adds functions and serves."""
    overridden: Any = None

    def start(**given: Any) -> Service:
        nonlocal overridden
        # An alias for each test: a stand-in keeps its functions.
        options = {"SERVICE_NAME": service, "BROKER_URL": broker.url, "TIMEOUT": 60, **given}
        overridden = override_settings(AMPHORA={**settings.AMPHORA, service: options})
        overridden.enable()
        return Service(service)

    yield start
    if overridden is not None:
        overridden.disable()


@pytest.fixture
def make_request() -> Callable[[str], CurrentRequest]:
    """Make requests as middleware gets them."""

    def make(function: str) -> CurrentRequest:
        return CurrentRequest(
            id="request-1", client=None, function=function, deadline=None, redelivered=False, headers={}
        )

    return make
