"""docs/reference.md: what it describes is public, and all that is public is described."""

import importlib
import re

import pytest

import amphora
from tests.support.pages import Reading


@pytest.mark.page("docs/reference.md")
def test_it_describes_what_is_public(page: Reading) -> None:
    directives = re.findall(r"^\.\. auto(\w+):: (\S+)$", page.take_one("{eval-rst}").text, re.MULTILINE)

    named = {name for kind, name in directives if kind != "module"}
    for name in (name for kind, name in directives if kind == "module"):
        named |= set(importlib.import_module(name).__all__)

    assert sorted(named - set(amphora.__all__)) == []
    assert sorted(set(amphora.__all__) - named - {"__version__"}) == []
