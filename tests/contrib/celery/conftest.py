"""Celery applications with Amphora, which end with the test."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
from celery import Celery, _state

from amphora.contrib.celery import Amphora


class NewApp(Protocol):
    """Make an application with Amphora, whose brokers are memory; `settings` are those of ``app.conf``."""

    def __call__(self, **settings: Any) -> Any: ...


@pytest.fixture
def own_tasks() -> Iterator[None]:
    """Let tasks be those of the test alone: Celery shares them with every application that is finalized later."""
    before = set(_state._on_app_finalizers)
    yield
    _state._on_app_finalizers.intersection_update(before)


@pytest.fixture
def new_app(own_tasks: None, service: str) -> Iterator[NewApp]:
    apps: list[Any] = []

    def make(**settings: Any) -> Any:
        given = {"broker_url": "memory://", "amphora_service_name": service, **settings}
        app = Celery(service, set_as_current=False)
        app.config_from_object(SimpleNamespace(**given))
        Amphora(app)
        apps.append(app)
        return app

    yield make
    for app in apps:
        amphora = app.amphora
        for each in (amphora.client, amphora.fanout_client, amphora.server, amphora.fanout_server):
            if hasattr(each, "reset"):
                each.reset()
        app.close()


@pytest.fixture
def app(new_app: NewApp) -> Any:
    return new_app()
