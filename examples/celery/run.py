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
from own_rabbitmq import OwnRabbitMQ, listens, program

CELERY = ["-m", "celery", "--no-color", "-A", "shop"]
NODE = "shop@localhost"
USUAL_BROKER = "amqp://guest:guest@127.0.0.1:5672//"
#: Seconds for the worker to serve, and for its two letters.
PATIENCE = 60


class Worker:
    """The worker as a child process; what it writes is printed with its name in front."""

    def __init__(self, environment):
        options = ["worker", "-P", "gevent", "-l", "INFO", "-n", NODE]
        self._child = subprocess.Popen(
            [sys.executable, *CELERY, *options],
            cwd=HERE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.serves, self._letters = threading.Event(), threading.Semaphore(0)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def running(self):
        """Whether it has not ended."""
        return self._child.poll() is None

    def wait_for_letters(self, count):
        """Wait until so many letters are written; return whether they are."""
        return all(self._letters.acquire(timeout=PATIENCE) for _ in range(count))

    def end(self):
        """Let it finish what it does, as SIGTERM asks a worker to, and return its exit status."""
        self._child.terminate()
        status = self._child.wait()
        self._reader.join()
        return status

    def _read(self):
        for line in self._child.stdout:
            # Celery's banner, and its warning for those who are root, are longer than the demonstration.
            if re.match(r"\[\d{4}-", line):
                say(f"worker   | {re.sub(r'^.*?/MainProcess] ', '', line.rstrip())}")
            if "is served: " in line:
                self.serves.set()
            if "Dear " in line:
                self._letters.release()
        self.serves.set()


def main():
    """Run everything, and return the exit status."""
    broker_url, own = os.environ.get("BROKER_URL") or USUAL_BROKER, None
    try:
        if not os.environ.get("BROKER_URL") and not listens(5672):
            if program() is None:
                return explain("no broker answered at 127.0.0.1:5672, and RabbitMQ is not installed here")
            say("No broker answered at 127.0.0.1:5672, and BROKER_URL names none: starting a RabbitMQ for the shop")
            own = OwnRabbitMQ()
            broker_url = own.url
            if not own.wait_started():
                return explain(f"RabbitMQ did not start; it wrote:\n{own.output()}")
        try:
            connection = Celery(broker=broker_url).connection_for_read()
            connection.ensure_connection(max_retries=2, interval_start=1, interval_step=0)
        except OperationalError as error:
            return explain(f"the broker did not let the shop in: {error}")
        return run({**os.environ, "BROKER_URL": broker_url, "PYTHONUNBUFFERED": "1"})
    finally:
        if own is not None:
            own.close()


def run(environment):
    """Run worker and customer on a broker."""
    say("$ celery -A shop worker -P gevent -l INFO")
    worker = Worker(environment)
    try:
        if not (worker.serves.wait(PATIENCE) and worker.running):
            return explain(f"the worker has ended, or did not serve within {PATIENCE} s")
        for name, command in {
            "python customer.py": ["customer.py"],
            "celery -A shop amphora call price pear 10": [*CELERY, "amphora", "call", "price", "pear", "10"],
            "celery -A shop inspect amphora": [*CELERY, "inspect", "amphora", "-d", NODE, "-t", "30"],
        }.items():
            say(f"$ {name}")
            subprocess.run([sys.executable, *command], cwd=HERE, env=environment, check=True)
        done = worker.wait_for_letters(2)
    except subprocess.CalledProcessError as error:
        return explain(str(error))
    finally:
        say("$ kill -TERM (the worker)")
        status = worker.end()
    say("All done. Start worker and customer by hand, in examples/celery, to look closer.")
    return 0 if done and status == 0 else 1


def explain(trouble):
    """Say what went wrong and what to do; return the exit status."""
    print(
        f"The shop was not opened: {trouble}.\n"
        "Is RabbitMQ running, and is BROKER_URL right (amqp://user:password@host:port/vhost)?\n"
        "Without BROKER_URL the shop takes the broker of this machine, or starts one if RabbitMQ is installed:\n"
        "sh scripts/install-rabbitmq",
        file=sys.stderr,
    )
    return 1


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
