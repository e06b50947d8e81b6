"""Runs the shop: a worker, a customer, and RabbitMQ where none is there; `make demo-celery` does it.

    python examples/celery/run.py

BROKER_URL names the broker; without it that of this machine is taken, or one is started.
"""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from celery import Celery
from celery.exceptions import OperationalError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "shared"))
from children import Child, say
from own_rabbitmq import NoBroker, broker_for

CELERY = ["-m", "celery", "--no-color", "-A", "shop"]
NODE = "shop@localhost"
#: Seconds for the worker to serve, and for its two letters.
PATIENCE = 60


class Worker:
    """The worker as a child process; what it writes is printed with its name in front."""

    def __init__(self, environment):
        options = ["worker", "-P", "gevent", "-l", "INFO", "-n", NODE]
        self.serves, self._letters = threading.Event(), threading.Semaphore(0)
        self._child = Child(
            "worker   ",
            [*CELERY, *options],
            directory=HERE,
            environment=environment,
            show=self._show,
            ended=lambda _: self.serves.set(),
        )

    @property
    def running(self):
        """Whether it has not ended."""
        return self._child.process.poll() is None

    def wait_for_letters(self, count):
        """Wait until so many letters are written; return whether they are."""
        return all(self._letters.acquire(timeout=PATIENCE) for _ in range(count))

    def end(self):
        """Let it finish what it does, and return its exit status."""
        return self._child.end()

    def _show(self, line):
        if "is served: " in line:
            self.serves.set()
        if "Dear " in line:
            self._letters.release()
        # Celery's banner, and its warning for those who are root, are longer than the demonstration.
        return re.sub(r"^.*?/MainProcess] ", "", line) if re.match(r"\[\d{4}-", line) else None


def main():
    """Run everything, and return the exit status."""
    try:
        with broker_for("the shop") as broker_url:
            try:
                connection = Celery(broker=broker_url).connection_for_read()
                connection.ensure_connection(max_retries=2, interval_start=1, interval_step=0)
            except OperationalError as error:
                raise NoBroker(f"the broker did not let the shop in: {error}") from error
            return run({**os.environ, "BROKER_URL": broker_url, "PYTHONUNBUFFERED": "1"})
    except NoBroker as trouble:
        print(f"The shop was not opened: {trouble}", file=sys.stderr)
        return 1


def run(environment):
    """Run worker and customer on a broker."""
    say("$ celery -A shop worker -P gevent -l INFO")
    worker = Worker(environment)
    try:
        if not (worker.serves.wait(PATIENCE) and worker.running):
            return failed(f"the worker has ended, or did not serve within {PATIENCE} s")
        for name, command in {
            "python customer.py": ["customer.py"],
            "celery -A shop amphora call price pear 10": [*CELERY, "amphora", "call", "price", "pear", "10"],
            "celery -A shop inspect amphora": [*CELERY, "inspect", "amphora", "-d", NODE, "-t", "30"],
        }.items():
            say(f"$ {name}")
            show([sys.executable, *command], environment)
        done = worker.wait_for_letters(2)
    except subprocess.CalledProcessError as error:
        return failed(error)
    finally:
        say("$ kill -TERM (the worker)")
        status = worker.end()
    say("All done. Start worker and customer by hand, in examples/celery, to look closer.")
    return 0 if done and status == 0 else 1


def show(command, environment):
    """Run a program and print its lines, each in one piece beside those of the worker."""
    environment = {**environment, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=HERE, env=environment, stdout=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            say(line.rstrip("\n"))
    if program.returncode != 0:
        raise subprocess.CalledProcessError(program.returncode, command)


def failed(trouble):
    """Say what went wrong; return the exit status."""
    print(f"The shop was closed: {trouble}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
