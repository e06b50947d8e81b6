"""Django for the tests: configured once, in this process, as the sample project in `projects/shop` is."""

import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test.utils import setup_test_environment, teardown_test_environment

from amphora.contrib.django import clients, servers
from tests.support.processes import ROOT

PROJECT = Path(__file__).parent / "projects" / "shop"

if not settings.configured:
    sys.path.insert(0, str(PROJECT))
    from shop import settings as of_project

    settings.configure(**{name: getattr(of_project, name) for name in dir(of_project) if name.isupper()})
    django.setup()


def environment_of_project(**variables: str) -> dict[str, str]:
    """Return the environment in which a program is one of the sample project's.

    Args:
        variables: More of it: see the project's settings.
    """
    return {"PYTHONPATH": f"{ROOT}:{PROJECT}", "DJANGO_SETTINGS_MODULE": "shop.settings", **variables}


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make the default database a migrated SQLite file for the session."""
    connection = connections["default"]
    before = connection.settings_dict["NAME"]
    connection.close()
    connections.settings["default"]["NAME"] = str(tmp_path_factory.mktemp("django") / "db.sqlite3")
    connection.settings_dict["NAME"] = connections.settings["default"]["NAME"]
    call_command("migrate", verbosity=0)
    yield
    connection.close()
    connections.settings["default"]["NAME"] = connection.settings_dict["NAME"] = before


@pytest.fixture(scope="package", autouse=True)
def _test_environment() -> Iterator[None]:
    """Send no mail, and show the contexts of templates, as Django's own test runner does."""
    setup_test_environment()
    yield
    teardown_test_environment()


@pytest.fixture(autouse=True)
def _endpoints_end_with_the_test() -> Iterator[None]:
    """Stop the servers and clients that a test made."""
    yield
    clients.reset()
    servers.reset()
