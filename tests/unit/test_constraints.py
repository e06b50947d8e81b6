"""The releases that continuous integration installs are pinned, all of them."""

import re
import tomllib

from tests.support.processes import ROOT


def test_every_dependency_of_every_extra_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    pinned = {normalized(line.partition("==")[0]) for line in lines if "==" in line}

    assert {normalized(re.split(r"[\[<>=;~ ]", each)[0]) for each in wanted} - {"amphora"} <= pinned


def normalized(name: str) -> str:
    """Return a package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
