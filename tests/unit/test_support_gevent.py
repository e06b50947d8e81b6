"""gevent patches the standard library before any test, plug-in or conftest.py is imported."""

import os
import subprocess
import sys

import pytest
from gevent import monkey

from tests.support.processes import ROOT


@pytest.mark.parametrize("module", ["socket", "ssl", "threading", "subprocess", "select", "time", "queue"])
def test_a_module_is_patched(module):
    assert monkey.is_module_patched(module)


def test_a_bare_pytest_is_patched_in_time():
    # gevent warns when ssl was imported before it patches: an error here.
    options = [f"-Werror::{monkey.MonkeyPatchWarning.__module__}.MonkeyPatchWarning", "-m", "pytest"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    done = subprocess.run(
        [sys.executable, "-P", *options, "--collect-only", "-q", "-p", "no:cacheprovider", __file__],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "MonkeyPatchWarning" not in done.stderr
