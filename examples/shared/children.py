"""Programs of a demonstration as child processes, whose lines are printed with their names in front."""

import subprocess
import sys
import threading


class Child:
    """A Python program that runs in a process of its own.

    Args:
        name: Stands in front of its lines.
        arguments: Those of Python.
        directory: Where it runs.
        environment: Its environment.
        show: Takes each line, and returns what is printed of it, or None.
        ended: Told the exit status when it has ended and all its lines are printed.
    """

    def __init__(self, name, arguments, *, directory, environment, show, ended):
        self._name = name
        self._show = show
        self._ended = ended
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def end(self, timeout=None):
        """Let it finish what it does, as SIGTERM asks it to, and kill it if it takes longer; return its exit status."""
        self.process.terminate()
        return self.wait(timeout)

    def wait(self, timeout=None):
        """Wait until it has ended, and kill it if that takes longer; return its exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        # What it has started, and left behind, may have its output still.
        self._reader.join(timeout=10)
        return status

    def _read(self):
        for line in self.process.stdout:
            shown = self._show(line.decode(errors="replace").rstrip())
            if shown is not None:
                say(f"{self._name}| {shown}")
        self._ended(self.process.wait())


def say(text):
    """Print a line at once, in one piece: threads and other programs write there too."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
