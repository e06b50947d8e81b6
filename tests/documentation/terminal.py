"""A terminal in which somebody types the `amphora` commands of a page."""

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner

from amphora.cli.program import amphora
from tests.conftest import StartProgram
from tests.support.consoles import Entry, redirection
from tests.support.processes import Program


class Terminal:
    """A directory with the programs of the page, and the address of a broker of the page's own."""

    def __init__(self, directory: Path, broker_url: str, start_program: StartProgram) -> None:
        self.directory = directory
        #: The address as commands show it.
        self.broker = re.sub(r":[^:@/]*@", "@", broker_url)
        self.environment = {
            "AMPHORA_BROKER_URL": broker_url,
            "COLUMNS": "100",
            "HOME": str(directory),
            "NO_COLOR": "1",
        }
        self._start_program = start_program

    def write(self, files: Mapping[str, str]) -> None:
        """Write files into the directory."""
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def start(self, command: str, *more: str) -> Program:
        """Start an `amphora` command as a program, which ends with the test.

        Args:
            command: the line that is typed.
            more: arguments that the test needs, at its end.
        """
        _, *words = shlex.split(command)
        source = f"import os; os.chdir({str(self.directory)!r}); from amphora.cli.entry import main; main()"
        return self._start_program("-c", source, *words, *more, env=self.environment)

    def start_installed(self, program: str, *arguments: object) -> Program:
        """Start a program that is installed beside this Python."""
        return self._start_program(Path(sys.executable).with_name(program), *arguments, env=self.environment)

    def start_python(self, command: str) -> Program:
        """Start a line such as `python program.py ARGUMENT`, with a program of the directory."""
        python, script, *arguments = shlex.split(command)
        assert python == "python", command
        return self._start_program(self.directory / script, *arguments, env=self.environment)

    def run(self, entry: Entry, *more: str, typed: str | None = None, status: int = 0) -> str:
        """Run an `amphora` command in this process, and return what it prints to standard output.

        Args:
            entry: the command.
            more: arguments that the test needs, at its end.
            typed: what is typed while it runs.
            status: what it has to end with.

        Raises:
            AssertionError: it ended with another status.
        """
        (name, *words), file = redirection(entry.words)
        assert name == "amphora", str(entry)
        at = words.index("--") if "--" in words else len(words)
        words[at:at] = more
        result = CliRunner(env=self.environment).invoke(amphora, words, input=typed)
        assert result.exit_code == status, f"{entry}: {result.output}"
        if file is None:
            return result.stdout
        path = Path(file.replace("~", str(self.directory)))
        path = path if path.is_absolute() else self.directory / path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as opened:
            opened.write(result.stdout)
        return ""
