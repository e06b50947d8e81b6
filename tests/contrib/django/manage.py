"""Runs commands of the sample projects in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from gevent.subprocess import DEVNULL, PIPE, run

from tests.support.die_with_parent import lead_session_and_die_with_parent
from tests.support.processes import ROOT

Output = int | IO[bytes]

PROJECTS = Path(__file__).parent / "projects"


def manage(
    project: str, *arguments: str, env: Mapping[str, str] | None = None, stdout: Output = PIPE
) -> "subprocess.CompletedProcess[str]":
    """Run `manage.py` of a sample project to its end, unpatched as it comes.

    Returns:
        What it wrote, and the status that it ended with.
    """
    return run_python(PROJECTS / project, "manage.py", *arguments, env=env, stdout=stdout)


def run_python(
    directory: Path, *arguments: str, env: Mapping[str, str] | None = None, stdout: Output = PIPE
) -> "subprocess.CompletedProcess[str]":
    """Run Python in a directory to its end, with this checkout first in its path."""
    done: subprocess.CompletedProcess[str] = run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        stdin=DEVNULL,
        stdout=stdout,
        stderr=PIPE,
        text=True,
        timeout=100,
        preexec_fn=lead_session_and_die_with_parent,
    )
    return done
