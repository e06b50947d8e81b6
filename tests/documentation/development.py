"""What the pages tell those who install, measure and change Amphora to type: checked as far as it goes in a test."""

import configparser
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from _pytest.mark.expression import Expression
from gevent.subprocess import PIPE, STDOUT, run

from tests.support.consoles import Entry
from tests.support.processes import ROOT, Program

#: Seconds. The machine may be busy.
PATIENCE = 100
#: Commands that are not run, with the reason for each.
NOT_RUN = {
    "for i in $(seq 50)": "it runs tests fifty times: the shell reads it, and the tests are looked for",
    "for i in $(seq $(nproc))": "it runs the whole suite on a busy machine: the shell reads it",
    ".venv/bin/python -m pip install atheris": "it wants a package from the index: the program is looked for",
}
_READ_OPTIONS = Path(__file__).with_name("read_options.py")
_PROGRAM = re.compile(r"^\S*python\d* (?P<words>(benchmarks/|-m chaos\.|-m pytest|examples/|-m sphinx).*)$")


class Development:
    """Checks commands; what takes a process is done for all of them at the end, by `finish`."""

    def __init__(self) -> None:
        self._programs: list[list[str]] = []

    def check_all(self, commands: Iterable[Entry]) -> None:
        """Check commands.

        Raises:
            AssertionError: one of them does not work.
        """
        for entry in commands:
            self.check(entry)
        self.finish()

    def check(self, entry: Entry) -> None:
        """Check a command; call `finish` in the end."""
        assert not entry.output, f"{entry} shows an output, which is not compared"
        if any(entry.command.startswith(begin) for begin in NOT_RUN):
            self._check_unrun(entry)
            return
        match entry.words:
            case ["pip", "install", *what]:
                self._check_install(entry, what)
            case [".venv/bin/python", "-m", "pip", "install", *what]:
                self._check_install(entry, what)
            case ["make", target, *variables]:
                self._check_make(entry, target, variables)
            case ["python", *program]:
                self._programs.append(program)
            case [".venv/bin/tox", *options]:
                self._check_tox(entry, options)
            case _:
                raise AssertionError(f"{entry}: nobody knows how to check it; see {__name__}")

    def finish(self) -> None:
        """Let the programs of the commands read their options."""
        if self._programs:
            with Program(_READ_OPTIONS, json.dumps(self._programs)) as reading:
                assert reading.wait(PATIENCE) == 0, reading.output
            self._programs = []

    def _check_install(self, entry: Entry, what: Sequence[str]) -> None:
        options = [word for word in what if word.startswith("-")]
        target, *others = [word for word in what if not word.startswith("-")]
        # Packages of others, by name.
        assert all(re.fullmatch(r"[a-z][a-z0-9-]*", other) for other in others), str(entry)
        if options == ["-r"]:
            lines = (ROOT / target).read_text().splitlines()
            listed = {line for line in lines if line and not line.startswith("#")}
            # As its first line says.
            assert listed == set(_project()["optional-dependencies"]["bench"]), str(entry)
            return
        assert set(options) <= {"-e", "--editable"}, str(entry)
        match = re.fullmatch(r"(?:/path/to/checkout|\.)(?:\[(?P<extras>[\w,-]+)\])?", target)
        assert match, f"{entry}: Amphora is installed from a checkout: /path/to/checkout or /path/to/checkout[extra]"
        extras = set(match["extras"].split(",")) if match["extras"] else set()
        assert extras <= set(_project()["optional-dependencies"]), str(entry)

    def _check_make(self, entry: Entry, target: str, variables: Sequence[str]) -> None:
        # This may run within `make`, whose variables a child would take over.
        inherited = {"ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
        environment = {name: value for name, value in os.environ.items() if name not in inherited}
        done = run(
            ["make", "--dry-run", target, *variables],
            cwd=ROOT,
            env=environment,
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{entry}: {done.stdout}"
        makefile = (ROOT / "Makefile").read_text()
        for variable in variables:
            assert re.search(rf"^{variable.partition('=')[0]} \?=", makefile, re.MULTILINE), str(entry)
        for program in filter(None, map(_PROGRAM.match, done.stdout.splitlines())):
            match shlex.split(program["words"]):
                case ["-m", "pytest", *words]:
                    self._check_selection(entry, words)
                case ["-m", module, *_] as words if module.startswith("chaos."):
                    self._programs.append(words)
                case [script, *_] as words if script.startswith("benchmarks/"):
                    self._programs.append(words)
                case [script, *_] if script != "-m":
                    assert (ROOT / script).is_file(), str(entry)

    def _check_selection(self, entry: Entry, words: Sequence[str]) -> None:
        """Insist that arguments of pytest select tests, without collecting all of them, which takes long."""
        options = iter(words)
        for word in options:
            match word:
                case "-x":
                    pass
                case "-k":
                    wanted = Expression.compile(next(options))
                    names = (
                        f"{path.relative_to(ROOT)} {path.read_text()}" for path in (ROOT / "tests").rglob("test_*.py")
                    )
                    assert any(wanted.evaluate(lambda name, names=each: name in names) for each in names), str(entry)
                case _:
                    assert (ROOT / word).exists(), str(entry)

    def _check_tox(self, entry: Entry, options: Sequence[str]) -> None:
        configuration = configparser.ConfigParser()
        configuration.read(ROOT / "tox.ini")
        known = configuration["tox"]["env_list"].split(", ")
        match options:
            case []:
                pass
            case ["-e", environment, "--", *words]:
                assert environment in known, str(entry)
                self._check_selection(entry, words)
            case _:
                raise AssertionError(f"{entry}: unknown options")

    def _check_unrun(self, entry: Entry) -> None:
        done = run(["sh", "-n", "-c", entry.command], stdout=PIPE, stderr=STDOUT, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{entry}: {done.stdout}"
        for path in re.findall(r"\btests/\w+", entry.command):
            assert (ROOT / path).exists(), str(entry)
        for module in re.findall(r"-m (chaos\.\w+)", entry.command):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), str(entry)


def _project() -> dict[str, dict[str, list[str]]]:
    project: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project
