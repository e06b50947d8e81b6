"""The system check of database drivers that stop the whole process while they wait."""

from types import SimpleNamespace

import pytest
from django.db import connections

from amphora.contrib.django import drivers
from amphora.contrib.django.drivers import check_drivers

HEALTHY = {"OPTIONS": {}, "CONN_HEALTH_CHECKS": False}


@pytest.fixture
def database(monkeypatch):
    """Give the project one database alone, with that driver."""

    def use(name, version="3.2.1", **settings):
        wrapper = SimpleNamespace(Database=SimpleNamespace(__name__=name, __version__=version))
        monkeypatch.setattr(drivers, "connections", _Connections(wrapper, {**HEALTHY, **settings}))

    return use


class _Connections(dict):
    def __init__(self, wrapper, settings):
        super().__init__(main=wrapper)
        self.settings = {"main": settings}


def ids():
    return [message.id for message in check_drivers()]


@pytest.mark.parametrize(
    ("name", "version"), [("psycopg2", "2.9.9 (dt dec pq3)"), ("MySQLdb", "2.2.4"), ("psycopg", "3.1.13")]
)
def test_a_driver_that_blocks_is_warned_of(database, name, version):
    database(name, version)

    (message,) = check_drivers()

    assert message.id == "amphora.W031"
    assert "'main'" in message.msg


@pytest.mark.parametrize(("name", "version"), [("psycopg", "3.1.14"), ("sqlite3.dbapi2", "?"), ("pymysql", "1.1.0")])
def test_other_drivers_are_not(database, name, version):
    database(name, version)

    assert ids() == []


def test_psycopg2_is_made_cooperative_where_psycogreen_is_installed(database, monkeypatch):
    database("psycopg2", "2.9.9")
    patched = []
    psycogreen = SimpleNamespace(patch_psycopg=lambda: patched.append(True))
    monkeypatch.setattr(drivers, "find_spec", lambda name: name)
    monkeypatch.setattr(drivers, "import_module", {"psycogreen.gevent": psycogreen}.get)

    drivers.make_cooperative()

    assert (patched, ids()) == ([True], [])


def test_a_pool_that_does_not_check_its_connections_is_warned_of(database):
    database("psycopg", OPTIONS={"pool": True})
    assert ids() == ["amphora.W032"]

    database("psycopg", OPTIONS={"pool": True}, CONN_HEALTH_CHECKS=True)
    assert ids() == []


def test_the_databases_of_the_project_are_looked_at():
    assert list(connections) == ["default"]
    assert ids() == []
