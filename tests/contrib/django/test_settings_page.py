"""docs/django-settings.md: its examples and its table of checks; see tests/documentation for its tables of settings."""

import re

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import amphora.contrib.django.conf as conf
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
