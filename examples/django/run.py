"""Runs the whole chat: two web processes and the core, and RabbitMQ where none is there; `make demo-django` does it.

    python examples/django/run.py [PORT ...]        (one web process for each port, 8001 and 8002 by default)

BROKER_URL names the broker; without it that of this machine is taken, or one is started. A process that is killed is
started again, as a service manager would do it, for you to try what that does: nothing is lost. Ctrl+C ends all.
"""

from gevent import monkey

monkey.patch_all()

import os
import signal
import subprocess
import sys
from pathlib import Path

import gevent
from gevent.event import AsyncResult, Event

from amphora import AmqpRpcClient, BrokerError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "shared"))
from children import Child, say
from own_rabbitmq import NoBroker, broker_for

PORTS = sys.argv[1:] or ["8001", "8002"]
#: Seconds for the broker to answer.
PATIENCE = 5
#: Two host names of this machine: a browser keeps a session for each, so that one person can be two users.
HOSTS = ["localhost", "127.0.0.1"]


class Process:
    """One process of the chat: its lines are printed with its name, and when it is killed it is started again."""

    def __init__(self, name, arguments, environment, ended, sign):
        self.ready = Event()
        self._name = f"{name:<5}"
        self._sign = sign
        self._arguments = arguments
        self._environment = environment
        self._ended = ended
        self._stopping = False
        self._start()

    def _start(self):
        self._child = Child(
            self._name,
            self._arguments,
            directory=HERE,
            environment=self._environment,
            show=self._show,
            ended=self._on_end,
        )

    def _show(self, line):
        if self._sign in line:
            self.ready.set()
        return line

    def _on_end(self, status):
        if self._stopping:
            return
        if status < 0:
            say(f"{self._name}| killed ({signal.Signals(-status).name}); starting it again")
            self._start()
        else:
            say(f"{self._name}| ended with status {status}")
            self._ended.set()

    def stop(self):
        """Start it no more."""
        self._stopping = True

    def wait(self, told):
        """Wait until it has ended; tell it to, unless it was told already, and kill it if it does not."""
        (self._child.wait if told else self._child.end)(timeout=20)


def main():
    """Run everything until Ctrl+C or a failure; return the exit status."""
    ended = Event()
    stopped = AsyncResult()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stopped.set, number)
    try:
        with broker_for("the chat") as broker_url:
            if not answers(broker_url):
                raise NoBroker("the broker did not let the chat in")
            return run(broker_url, ended, stopped)
    except NoBroker as trouble:
        print(f"The chat was not started: {trouble}", file=sys.stderr)
        return 1


def run(broker_url, ended, stopped):
    """Run the processes on a broker that answers."""
    environment = {**os.environ, "BROKER_URL": broker_url, "PYTHONUNBUFFERED": "1"}
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=HERE, env=environment, check=True)
    core = ["manage.py", "runserver_rpc", "default", "--noreload"]
    processes = [Process("core", core, environment, ended, sign="taking requests")]
    for number, port in enumerate(PORTS, 1):
        command = ["-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
        its_environment = {**environment, "CHAT_PROCESS": f"web {number}"}
        processes.append(Process(f"web {number}", command, its_environment, ended, sign="Booting worker"))
    all_ready = gevent.spawn(gevent.wait, [process.ready for process in processes])
    gevent.wait([all_ready, ended, stopped], count=1)
    if all_ready.dead:
        say("")
        for number, port in enumerate(PORTS):
            say(f"Web process {number + 1} is at http://{HOSTS[number % len(HOSTS)]}:{port}/")
        say("Open both, enter two names, and talk. Ctrl+C ends all.")
    gevent.wait([ended, stopped], count=1)
    for process in processes:
        process.stop()
    # Ctrl+C at a terminal reaches all processes; a second signal would end them at once, whatever they do.
    gevent.joinall([gevent.spawn(process.wait, stopped.value == signal.SIGINT) for process in processes])
    return 0 if stopped.ready() else 1


def answers(broker_url):
    """Return whether a broker lets us in, in time; Amphora's log says why not."""
    try:
        with AmqpRpcClient("chat", broker_url=broker_url) as client:
            return client.wait_connected(timeout=PATIENCE)
    except (BrokerError, ValueError) as error:
        say(f"{type(error).__name__}: {error}")
        return False


if __name__ == "__main__":
    sys.exit(main())
