"""Run RabbitMQ nodes for tests: start, stop, kill, pause and empty them, and look inside."""

import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import amqp
import port_for
from gevent.subprocess import DEVNULL, PIPE, STDOUT, Popen, run
from pytest_rabbitmq.factories.executor import RabbitMqExecutor

from tests.support.die_with_parent import lead_session_and_die_with_parent
from tests.support.eventually import wait_until
from tests.support.freezing import freeze
from tests.support.node_console import NodeConsole

HOST = "127.0.0.1"
# Where the Debian packages keep the programs that any user can run; those in /usr/sbin are for root only.
DEBIAN_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
HOW_TO_INSTALL = "run `sh scripts/install-rabbitmq`, or `make test`, which does"
START_TIMEOUT = 60.0
# Who the broker's log says has changed users and virtual hosts.
_ACTOR = '<<"tests">>'
# Of what a stop closes in good order; a node that takes longer is killed.
STOP_TIMEOUT = 30.0

DEFAULT_CONFIG: Mapping[str, str | int] = {
    # A machine's nearly full disk must not block the publishers of the tests.
    "disk_free_limit.absolute": "1MB",
    "log.file.level": "info",
}


@dataclass(frozen=True)
class QueueInfo:
    """A queue as the broker sees it; `messages` is `ready` and `unacked` together."""

    name: str
    messages: int
    ready: int
    unacked: int
    consumers: int
    durable: bool
    auto_delete: bool
    exclusive: bool
    arguments: dict[str, Any]


@dataclass(frozen=True)
class ExchangeInfo:
    """An exchange as the broker sees it."""

    name: str
    type: str
    durable: bool
    auto_delete: bool
    arguments: dict[str, Any]


@dataclass(frozen=True)
class BindingInfo:
    """A binding of a queue (or of an exchange) to an exchange."""

    exchange: str
    destination: str
    destination_kind: str
    routing_key: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class ConnectionInfo:
    """An AMQP connection as the broker sees it; `peer_port` is the client's own TCP port."""

    pid: str
    user: str
    vhost: str
    state: str
    peer_port: int
    channels: int
    heartbeat: int
    client_properties: dict[str, Any]


class Broker:
    """One RabbitMQ node with its own port, name, data, cookie and epmd, all under one directory.

    Nothing starts before `start()`. Every restart keeps the port, so that clients can come back; a node that is
    still running when the test process ends, or is killed, ends with it.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, str | int] | None = None,
        *,
        server: str | None = None,
        ctl: str | None = None,
        neighbour: "Broker | None" = None,
    ) -> None:
        """Prepare a node.

        Args:
            directory: an empty directory of this node; its path must be short enough for a Unix socket.
            config: lines of rabbitmq.conf, on top of `DEFAULT_CONFIG`: `{"max_message_size": 1000}`.
            server, ctl: the programs, where they are in no usual place.
            neighbour: a node whose epmd and cookie this one shares, so that the two can make a cluster. It must
                have been started, and be closed later, than this one.
        """
        self.directory = directory
        self.config = {**DEFAULT_CONFIG, **(config or {})}
        # Outside the range from which the system takes ports for outgoing connections: a client that tries again
        # and again while the node is down would otherwise end up connected to itself.
        self.port = port_for.select_random()
        self.node = f"amphora-{self.port}-{os.getpid()}@localhost"
        self._server = server or _program("rabbitmq-server")
        self._ctl = ctl or _program("rabbitmqctl")
        self._neighbour = neighbour
        own_epmd_port = port_for.select_random(exclude_ports=[self.port])
        self._epmd_port: int = own_epmd_port if neighbour is None else neighbour._epmd_port
        self._dist_port = port_for.select_random(exclude_ports=[self.port, self._epmd_port])
        self._console = NodeConsole(directory / "console")
        self._epmd: Popen[bytes] | None = None
        self._process: _NodeProcess | None = None
        self._paused = False

    def __repr__(self) -> str:
        return f"<Broker {self.node} {'running' if self.running else 'stopped'}>"

    # The address.

    @property
    def url(self) -> str:
        """The AMQP URL of the default virtual host, as the user guest."""
        return self.url_for()

    def url_for(
        self, *, user: str = "guest", password: str = "guest", vhost: str = "/", port: int | None = None
    ) -> str:
        """Return an AMQP URL of this node, or of a proxy before it (`port`)."""
        return f"amqp://{user}:{password}@{HOST}:{port or self.port}/{vhost}"

    # Life and death.

    @property
    def running(self) -> bool:
        """Whether the node's process lives (it may be paused)."""
        return self._process is not None and self._process.running()

    @property
    def pid(self) -> int:
        """The process id of the Erlang virtual machine."""
        if self._process is None or self._process.process is None:
            raise RuntimeError(f"{self.node} is not running")
        return int(self._process.process.pid)

    def start(self) -> None:
        """Start the node and return when it has booted and lets a client log in; no-op when it runs."""
        if self.running:
            return
        self._clear_away()
        self._start_epmd()
        self._share_cookie()
        self._write_config()
        self._process = self._new_process()
        try:
            self._process.start()
            self._wait_until_ready()
        except Exception as error:
            error.add_note(self.log())
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the node in good order: it closes its clients' connections (320, CONNECTION_FORCED) and its files."""
        if not self.running:
            return
        self.resume()
        os.kill(self.pid, signal.SIGTERM)
        # One that does not manage is killed below.
        with suppress(AssertionError):
            wait_until(lambda: not self.running, STOP_TIMEOUT)
        self._clear_away()

    def kill(self) -> None:
        """Kill the node as a crash would (`kill -9`), with everything that it started."""
        self._paused = False
        self._clear_away()

    def sync(self) -> None:
        """Let the node write to disk which quorum queues there are, which RabbitMQ 4 does some seconds later.

        A node that is killed before that may come back with the queue, but without its messages.
        """
        self.eval("[dets:sync(Table) || Table <- dets:all()]")

    def restart(self) -> None:
        """Stop the node in good order and start it with its data."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Stop the node, remove all its data, and start it: it comes back empty."""
        self.stop()
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        self.start()

    def pause(self) -> None:
        """Freeze the node: its connections stay open and nothing answers any more."""
        freeze(self.pid)
        self._paused = True

    def resume(self) -> None:
        """Let a paused node go on."""
        if self._paused:
            os.kill(self.pid, signal.SIGCONT)
            self._paused = False

    def heal(self) -> None:
        """Undo what tests do: a paused node goes on, a dead one starts, a memory alarm ends."""
        self.resume()
        if not self.running:
            self.start()
        if self.alarms():
            self._set_memory_limit("0.4")

    def close(self) -> None:
        """End the node and its epmd for good."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    # Talking to it.

    def ctl(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run `rabbitmqctl`, which takes about half a second; prefer `eval` in what is done often.

        Returns:
            What it printed.

        Raises:
            RuntimeError: it failed, with what it printed.
        """
        # The environment is that of the node: its name, cookie and epmd.
        done = run(
            [self._ctl, "--quiet", *arguments],
            env=self._new_process().envvars,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)} failed ({done.returncode}): {done.stdout}")
        return done.stdout

    def eval(self, expressions: str, timeout: float = 30.0) -> Any:
        """Evaluate Erlang expressions inside the node; see `NodeConsole.evaluate`."""
        return self._console.evaluate(expressions, timeout)

    def connect(self, **options: Any) -> amqp.Connection:
        """Return an open plain py-amqp connection (`options` as its constructor takes them); the caller closes it."""
        connection = amqp.Connection(**{"host": f"{HOST}:{self.port}", "connect_timeout": 5, **options})
        connection.connect()
        return connection

    @contextmanager
    def channel(self, **options: Any) -> Iterator[amqp.Channel]:
        """Give a plain py-amqp channel for the duration of a block."""
        connection = self.connect(**options)
        try:
            yield connection.channel()
        finally:
            connection.collect()

    def log(self) -> str:
        """Return the end of what the node logged and printed."""
        files = [self.directory / "output", *sorted((self.directory / "logs").glob("*.log"))]
        return "\n".join(
            f"== {file.name}\n{file.read_text(errors='replace')[-5000:]}" for file in files if file.exists()
        )

    # What is in it.

    def queues(self, vhost: str = "/") -> dict[str, QueueInfo]:
        """Return all queues of a virtual host by name."""
        # One may be deleted while it is asked. What is told of quorum queues is seconds old: their leaders are asked.
        rows = self.eval(f"""
            Items = [messages, messages_ready, messages_unacknowledged, consumers, durable, auto_delete, arguments],
            Ask = fun(Leader, F) ->
                % Until 4.2 a function, since then its name.
                case catch ra:leader_query(Leader, fun rabbit_fifo:F/1) of
                    {{ok, {{_, Number}}, _}} -> Number;
                    _ -> {{ok, {{_, Number}}, _}} = ra:leader_query(Leader, {{rabbit_fifo, F, []}}), Number
                end
            end,
            Names = [query_messages_total, query_messages_ready, query_messages_checked_out, query_consumer_count],
            Current = fun(Q, [M, R, U, C | Rest]) ->
                case amqqueue:get_type(Q) =:= rabbit_quorum_queue
                        andalso (catch [Ask(amqqueue:get_pid(Q), F) || F <- Names]) of
                    [_ | _] = Numbers -> Numbers ++ Rest;
                    _ -> [M, R, U, C | Rest]
                end
            end,
            [[element(4, amqqueue:get_name(Q)), rabbit_amqqueue:is_exclusive(Q) |
              Current(Q, [V || {{_, V}} <- Info])]
             || Q <- rabbit_amqqueue:list({_binary(vhost)}),
             Info <- [catch rabbit_amqqueue:info(Q, Items)], is_list(Info)]
        """)
        queues = [
            QueueInfo(name, messages, ready, unacked, consumers, durable, auto_delete, exclusive, _table(arguments))
            for name, exclusive, messages, ready, unacked, consumers, durable, auto_delete, arguments in rows
        ]
        return {queue.name: queue for queue in queues}

    def exchanges(self, vhost: str = "/") -> dict[str, ExchangeInfo]:
        """Return the exchanges of a virtual host by name, without those that every broker has."""
        rows = self.eval(f"""
            Items = [name, type, durable, auto_delete, arguments],
            [[V || {{_, V}} <- rabbit_exchange:info(E, Items)] || E <- rabbit_exchange:list({_binary(vhost)})]
        """)
        exchanges = [
            ExchangeInfo(name, kind, durable, auto_delete, _table(arguments))
            for (_, _, _, name), kind, durable, auto_delete, arguments in rows
            if name and not name.startswith("amq.")
        ]
        return {exchange.name: exchange for exchange in exchanges}

    def bindings(self, vhost: str = "/") -> list[BindingInfo]:
        """Return the bindings of a virtual host, without those of the nameless exchange to every queue."""
        rows = self.eval(f"""
            [[Exchange, Destination, Kind, Key, Arguments]
             || {{binding, {{_, _, _, Exchange}}, Key, {{_, _, Kind, Destination}}, Arguments}}
                <- rabbit_binding:list({_binary(vhost)})]
        """)
        return [
            BindingInfo(exchange, destination, kind, routing_key, _table(arguments))
            for exchange, destination, kind, routing_key, arguments in rows
            if exchange
        ]

    def connections(self) -> list[ConnectionInfo]:
        """Return all open AMQP connections (those of this test suite's own plain channels too)."""
        # One may be closed while it is asked.
        rows = self.eval("""
            Items = [pid, user, vhost, state, peer_port, channels, timeout, client_properties],
            [[V || {_, V} <- Info] || Pid <- rabbit_networking:connections(),
             Info <- [catch rabbit_networking:connection_info(Pid, Items)], is_list(Info)]
        """)
        return [
            ConnectionInfo(pid, user, vhost, state, peer_port, channels, heartbeat, _table(properties))
            for pid, user, vhost, state, peer_port, channels, heartbeat, properties in rows
            # One that is still shaking hands is not open yet, and has none.
            if isinstance(properties, list)
        ]

    @property
    def release(self) -> tuple[int, int]:
        """Return the release of RabbitMQ that runs, such as (4, 3)."""
        major, minor = self.eval("list_to_binary(rabbit_misc:version())").split(".")[:2]
        return int(major), int(minor)

    def alarms(self) -> list[Any]:
        """Return the alarms in force: while there is one, publishers are blocked."""
        alarms: list[Any] = self.eval("rabbit_alarm:get_alarms()")
        return alarms

    # Changing it.

    def add_user(
        self,
        name: str,
        password: str,
        *,
        vhost: str = "/",
        permissions: str = ".*",
        configure: str | None = None,
        write: str | None = None,
        read: str | None = None,
    ) -> None:
        """Add a user who may configure, write and read what `permissions` (a regular expression) matches.

        `configure`, `write` and `read` say otherwise for one of the three.
        """
        self.eval(f"ok = rabbit_auth_backend_internal:add_user({_binary(name)}, {_binary(password)}, {_ACTOR})")
        given = [permissions if each is None else each for each in (configure, write, read)]
        self._set_permissions(name, vhost, *given)

    def delete_user(self, name: str) -> None:
        """Delete a user; connections that it has stay."""
        self.eval(f"ok = rabbit_auth_backend_internal:delete_user({_binary(name)}, {_ACTOR})")

    def add_vhost(self, name: str, *, user: str | None = "guest") -> None:
        """Add a virtual host that `user` may do everything in."""
        self.eval(f"ok = rabbit_vhost:add({_binary(name)}, {_ACTOR})")
        if user is not None:
            self._set_permissions(user, name, ".*", ".*", ".*")

    def set_policy(self, name: str, pattern: str, definition: Mapping[str, Any], apply_to: str = "queues") -> None:
        """Set a policy: `set_policy("full", "^rpc_x_", {"max-length": 1, "overflow": "reject-publish"})`."""
        what = ", ".join(map(_binary, (name, pattern, json.dumps(definition))))
        self.eval(f'ok = rabbit_policy:parse_set(<<"/">>, {what}, <<"0">>, {_binary(apply_to)}, {_ACTOR})')

    def clear_policy(self, name: str) -> None:
        """Remove a policy."""
        self.eval(f'ok = rabbit_policy:delete(<<"/">>, {_binary(name)}, {_ACTOR})')

    def set_user_limits(self, user: str, limits: Mapping[str, int]) -> None:
        """Set limits of a user, `{"max-connections": 1}`, of which -1 stands for none."""
        what = ", ".join(map(_binary, (user, json.dumps(dict(limits)))))
        self.eval(f"ok = rabbit_auth_backend_internal:set_user_limits({what}, {_ACTOR})")

    def set_vhost_limits(self, vhost: str, limits: Mapping[str, int]) -> None:
        """Set limits of a virtual host: `{"max-queues": 1}`."""
        what = ", ".join(map(_binary, (vhost, json.dumps(dict(limits)))))
        self.eval(f"ok = rabbit_vhost_limit:parse_set({what}, {_ACTOR})")

    def delete_queue(self, name: str) -> None:
        """Delete a queue with what is in it, consumers or not."""
        with self.channel() as channel:
            channel.queue_delete(name)

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange with its bindings."""
        with self.channel() as channel:
            channel.exchange_delete(name)

    def close_all_connections(self) -> None:
        """Close every AMQP connection as an administrator does: 320, CONNECTION_FORCED."""
        self.eval("""
            Reason = <<"closed by a test">>,
            [catch rabbit_networking:close_connection(Pid, Reason) || Pid <- rabbit_networking:connections()]
        """)

    @contextmanager
    def memory_alarm(self) -> Iterator[None]:
        """Block all publishers for the duration of a block, as a broker short of memory does."""
        self._set_memory_limit("0")
        try:
            wait_until(self.alarms, message="a memory alarm")
            yield
        finally:
            if self.running:
                self._set_memory_limit("0.4")
                wait_until(lambda: not self.alarms(), message="the end of the memory alarm")

    # How it is done.

    def _set_permissions(self, user: str, vhost: str, configure: str, write: str, read: str) -> None:
        what = ", ".join(map(_binary, (user, vhost, configure, write, read)))
        self.eval(f"ok = rabbit_auth_backend_internal:set_permissions({what}, {_ACTOR})")

    def _set_memory_limit(self, fraction: str) -> None:
        """Do what `rabbitmqctl set_vm_memory_high_watermark` does."""
        self.eval(f"vm_memory_monitor:set_vm_memory_high_watermark({fraction})")

    def _start_epmd(self) -> None:
        """Run an epmd for this node alone: the machine's own is left alone, and a node's would outlive it."""
        if self._epmd is not None or self._neighbour is not None:
            return
        program = shutil.which("epmd")
        if program is None:
            raise RuntimeError(f"Erlang's epmd is not in PATH: {HOW_TO_INSTALL}")
        self._epmd = Popen(
            [program, "-port", str(self._epmd_port), "-address", HOST],
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            preexec_fn=lead_session_and_die_with_parent,
        )
        wait_until(lambda: not port_for.is_available(self._epmd_port), START_TIMEOUT, "epmd listening")

    def _share_cookie(self) -> None:
        """Take the neighbour's cookie; a node without a neighbour makes one of its own when it starts."""
        cookie = self.directory / ".erlang.cookie"
        if self._neighbour is not None and not cookie.exists():
            shutil.copy(self._neighbour.directory / ".erlang.cookie", cookie)
            cookie.chmod(0o400)

    def _write_config(self) -> None:
        lines = [f"{name} = {value}\n" for name, value in self.config.items()]
        (self.directory / "rabbitmq.conf").write_text("".join(lines))
        # Without one of its own, a node would read the machine's in /etc/rabbitmq.
        (self.directory / "rabbitmq-env.conf").write_text("")

    def _new_process(self) -> "_NodeProcess":
        return _NodeProcess(
            self._server,
            HOST,
            self.port,
            self._dist_port,
            self._ctl,
            logpath=self.directory / "logs",
            path=self.directory,
            plugin_path=self.directory,
            node_name=self.node,
            environment=self._environment(),
            output=self.directory / "output",
        )

    def _environment(self) -> dict[str, str]:
        """Return what the node and `rabbitmqctl` need to know on top of pytest-rabbitmq's variables."""
        return {
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
            # Not into the current directory, which is the checkout.
            "ERL_CRASH_DUMP": str(self.directory / "erl_crash.dump"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "rabbitmq-env.conf"),
            "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            # With this the start script becomes the Erlang virtual machine instead of a shell that waits for
            # it: one process, whose id is known, to be killed or paused. `-noinput` takes the input away again.
            "RABBITMQ_ALLOW_INPUT": "1",
            # Two schedulers that never spin: nodes share the machine with the code under test.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
            " -kernel inet_dist_use_interface {127,0,0,1} " + NodeConsole.erl_arguments(),
            **self._console.environment(),
        }

    def _wait_until_ready(self) -> None:
        """Return when the node has booted wholly and a client can log in."""
        wait_until(lambda: self._accepts_clients() or not self.running, START_TIMEOUT, f"{self.node} ready")
        if not self.running:
            raise RuntimeError(f"{self.node} ended while it started")

    def _accepts_clients(self) -> bool:
        if not self._console.listens():
            return False
        try:
            self.connect().collect()
        except (OSError, amqp.AMQPError):
            return False
        return True

    def _clear_away(self) -> None:
        """Make sure that nothing of the node's process is left."""
        if self._process is not None:
            self._process.kill()
            self._process = None


class _NodeProcess(RabbitMqExecutor):
    """pytest-rabbitmq's executor, with the output in a file and the life tied to this process."""

    def __init__(self, *arguments: Any, environment: Mapping[str, str], output: Path, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._envvars.update(environment)
        self._output = output
        # How often the executor looks whether the port is open.
        self._sleep = 0.02

    def start(self) -> Self:
        # Not a pipe: nobody would read it, and a node that cannot print stands still.
        with self._output.open("ab") as self._stdout:
            return super().start()

    @property
    def _popen_kwargs(self) -> dict[str, Any]:
        tied = {"stdin": DEVNULL, "stderr": STDOUT, "preexec_fn": lead_session_and_die_with_parent}
        return {**super()._popen_kwargs, **tied}


def _program(name: str) -> str:
    """Find one of RabbitMQ's programs, in the directory that AMPHORA_RABBITMQ names first."""
    chosen = os.environ.get("AMPHORA_RABBITMQ")
    if chosen:
        return str(Path(chosen) / name)
    debian = DEBIAN_PROGRAMS / name
    program = str(debian) if debian.exists() else shutil.which(name)
    if program is None:
        raise RuntimeError(f"{name} is not installed: {HOW_TO_INSTALL}")
    return program


def _binary(text: str) -> str:
    """Write a string as an Erlang binary."""
    return f"<<{','.join(str(byte) for byte in text.encode())}>>"


def _table(entries: Sequence[Any]) -> dict[str, Any]:
    """Read an AMQP field table, `[[name, type, value], ...]` in Erlang, as a dict."""
    return {name: _field(kind, value) for name, kind, value in entries}


def _field(kind: str, value: Any) -> Any:
    if kind == "table":
        return _table(value)
    if kind == "array":
        return [_field(item_kind, item) for item_kind, item in value]
    return value
