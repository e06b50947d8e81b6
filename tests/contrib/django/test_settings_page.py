"""docs/django-settings.md: its tables say what the code does."""

import inspect
import re

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import amphora.contrib.django.conf as conf
from amphora.contrib.django.options import OWN_SETTINGS, client_arguments, known_settings, server_arguments
from amphora.contrib.django.serializer import DjangoJsonSerializer
from tests.support.fragments import run_fragments
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "django-settings.md").read_text()


def rows(heading):
    """Return the cells of the table under a heading, row by row."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def code(cell):
    """Return what stands between backquotes in a cell."""
    return cell.strip("`")


OWN = rows("Settings of this integration")
ARGUMENTS = rows("Settings of servers and clients")


def test_every_setting_is_in_one_of_the_tables_once():
    listed = [code(row[0]) for row in OWN + ARGUMENTS]

    assert sorted(listed) == sorted(known_settings())


@pytest.mark.parametrize("row", OWN, ids=lambda row: code(row[0]))
def test_settings_of_this_integration_have_these_defaults(row):
    name, kind, default, _ = row

    value = eval(code(default))

    assert OWN_SETTINGS[code(name)].default == value
    assert type(value).__name__ in code(kind) or value == ()
    assert OWN_SETTINGS[code(name)].fits(value)


@pytest.mark.parametrize("row", ARGUMENTS, ids=lambda row: code(row[0]))
def test_settings_of_servers_and_clients_have_these_types_and_defaults(row):
    name, takers, kind, default, meaning = row
    of_server, of_client = server_arguments().get(code(name)), client_arguments().get(code(name))

    assert (
        takers
        == {(True, True): "both", (True, False): "server", (False, True): "client"}[
            of_server is not None, of_client is not None
        ]
    )
    for argument in (of_server, of_client):
        if argument is not None:
            assert code(kind) == argument.annotation
            assert (
                default == "(needed)"
                or code(default) == "DjangoJsonSerializer"
                or eval(code(default)) == argument.default
            )
    assert (default == "(needed)") == ((of_server or of_client).default is inspect.Parameter.empty)
    assert meaning


def test_the_serializer_of_the_page_is_the_default():
    assert conf.imported({})["serializer"] is DjangoJsonSerializer


def test_every_check_is_listed_once():
    sources = "".join(path.read_text() for path in (ROOT / "amphora/contrib/django").rglob("*.py"))
    known = set(re.findall(r'"amphora\.([EWI]\d{3})"', sources)) | set(re.findall(r'"([EWI]\d{3})"', sources))

    listed = [code(row[0]).removeprefix("amphora.") for row in rows("Checks")]

    assert sorted(listed) == sorted(known)


@pytest.mark.page("docs/django-settings.md")
def test_the_example_is_good_settings(page):
    names = {}
    run_fragments([page.take_one("python")], names)

    with override_settings(AMPHORA=names["AMPHORA"]):
        assert list(conf.services()) == ["default", "billing"]
        with pytest.raises(ImproperlyConfigured, match="no alias 'other'"):
            conf.service("other")
