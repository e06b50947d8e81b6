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
from own_rabbitmq import OwnRabbitMQ, listens, program

USUAL_BROKER = "amqp://guest:guest@127.0.0.1:5672//"
PORTS = sys.argv[1:] or ["8001", "8002"]
#: Seconds for the broker to answer.
PATIENCE = 5
#: Two host names of this machine: a browser keeps a session for each, so that one person can be two users.
HOSTS = ["localhost", "127.0.0.1"]


class Process:
    """One process of the chat: its lines are printed with its name, and when it is killed it is started again."""

    def __init__(self, name, command, environment, ended, sign):
        self.ready = Event()
        self._name = name
        self._sign = sign
        self._command = command
        self._environment = environment
        self._ended = ended
        self._stopping = False
        self._child = self._start()

    def _start(self):
        child = subprocess.Popen(
            [sys.executable, *self._command],
            cwd=HERE,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        gevent.spawn(self._watch, child)
        return child

    def _watch(self, child):
        for line in child.stdout:
            text = line.decode(errors="replace").rstrip()
            say(f"{self._name:<5}| {text}")
            if self._sign in text:
                self.ready.set()
        status = child.wait()
        if self._stopping:
            return
        if status < 0:
            say(f"{self._name:<5}| killed ({signal.Signals(-status).name}); starting it again")
            self._child = self._start()
        else:
            say(f"{self._name:<5}| ended with status {status}")
            self._ended.set()

    def stop(self):
        """Start it no more."""
        self._stopping = True

    def wait(self, told):
        """Wait until it has ended; tell it to, unless it was told already, and kill it if it does not."""
        try:
            if not told:
                self._child.terminate()
            self._child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._child.kill()


def main():
    """Run everything until Ctrl+C or a failure; return the exit status."""
    ended = Event()
    stopped = AsyncResult()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stopped.set, number)
    broker_url, own = os.environ.get("BROKER_URL") or USUAL_BROKER, None
    try:
        if not os.environ.get("BROKER_URL") and not listens(5672):
            if program() is None:
                return explain("no broker answered at 127.0.0.1:5672, and RabbitMQ is not installed here")
            say("No broker answered at 127.0.0.1:5672, and BROKER_URL names none: starting a RabbitMQ for the chat")
            own = OwnRabbitMQ()
            broker_url = own.url
            if not own.wait_started():
                return explain(f"RabbitMQ did not start; it wrote:\n{own.output()}")
        if not answers(broker_url):
            return explain("the broker did not let the chat in")
        return run(broker_url, ended, stopped)
    finally:
        if own is not None:
            own.close()


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
    """Tell whether a broker lets us in, in time; Amphora's log says why not."""
    try:
        with AmqpRpcClient("chat", broker_url=broker_url) as client:
            return client.wait_connected(timeout=PATIENCE)
    except (BrokerError, ValueError) as error:
        say(f"{type(error).__name__}: {error}")
        return False


def explain(trouble):
    """Say what went wrong and what to do; return the exit status."""
    print(
        f"The chat was not started: {trouble}.\n"
        "Is RabbitMQ running, and is BROKER_URL right (amqp://user:password@host:port/vhost)?\n"
        "Without BROKER_URL the chat takes the broker of this machine, or starts one if RabbitMQ is installed:\n"
        "sh scripts/install-rabbitmq",
        file=sys.stderr,
    )
    return 1


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
