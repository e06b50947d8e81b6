"""The types that users see."""

import subprocess
import sys
import tomllib
from pathlib import Path

import amphora

ROOT = Path(__file__).parents[2]
USER_CODE = Path(__file__).with_name("typed_user_code.py")


def test_typed_programs_of_users_pass_mypy_in_strict_mode() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(USER_CODE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_package_says_that_it_is_typed_and_ships_the_mark() -> None:
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["amphora"]

    assert Path(amphora.__file__).with_name("py.typed").is_file()
    assert "py.typed" in shipped
