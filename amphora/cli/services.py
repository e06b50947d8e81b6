"""The service that a command is about, and the client made of what its options say."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    DeadLetters,
    RpcJsonSerializer,
    RpcMsgpackSerializer,
)
from amphora.cli.exit_codes import BadArguments, NotSent, errors_end_the_command
from amphora.cli.output import print_line
from amphora.cli.tls import TlsOptions
from amphora.cli.wording import with_options_named
from amphora.options.client_options import ClientOptions
from amphora.options.fields import options_of

__all__ = [
    "CLOCKS",
    "TargetService",
    "amphora_logs",
    "service_of",
    "why_not_connected",
]

#: Seconds by which clocks may differ: deadlines and signatures compare them.
CLOCKS = 2.0

#: Seconds that the broker keeps the queue for replies to a command that has ended, or has lost its connection.
_REPLIES_EXPIRE = 60.0

#: Reply code of AMQP 0-9-1 for an exchange or queue that does not exist.
_NOT_FOUND = 404

#: The options of a client, from which those of the command line have their defaults.
_CLIENT = options_of(ClientOptions)


@dataclass(frozen=True)
class TargetService:
    """The service that a command is about.

    Args:
        name: Its name.
        fanout: Whether every server runs each request.
        broker_url: Where the broker is; None for the local one.
        connect_timeout: Seconds to wait for the connection.
        serializer: ``json`` or ``msgpack``.
        max_received_size: Bytes of a reply's body that are decoded.
        identify: Whether requests name the user of the broker.
        signing_keys: Its keys, if its messages are signed.
        ssl: As clients and servers take it.
    """

    name: str
    fanout: bool = False
    broker_url: str | None = field(default=None, repr=False)
    connect_timeout: float = _CLIENT["connect_timeout"].default
    serializer: str = "json"
    max_received_size: int = _CLIENT["max_received_size"].default
    identify: bool = False
    signing_keys: tuple[bytes, ...] = field(default=(), repr=False)
    ssl: bool | dict[str, Any] = field(default=False, repr=False)

    @property
    def authorities(self) -> str | None:
        """File of the authorities to trust; None for the system's."""
        return self.ssl.get("ca_certs") if isinstance(self.ssl, dict) else None

    def client(self, **options: Any) -> AmqpRpcClient:
        """Make a client that declares nothing of the service, and does not start yet.

        Raises:
            BadArguments: An option is wrong.
        """
        made = AmqpRpcFanoutClient if self.fanout else AmqpRpcClient
        given = {"declare": False, "response_queue_expires": _REPLIES_EXPIRE, **self._arguments(), **options}
        with _wrong_arguments():
            return made(self.name, autostart=False, **given)

    @contextmanager
    def connected(self, **options: Any) -> Iterator[AmqpRpcClient]:
        """Give a client that is connected; Amphora's exceptions within the context end the command.

        Raises:
            NotSent: The broker cannot be reached or refuses, or the service was never there.
        """
        with errors_end_the_command(), self.client(**options) as client:
            if not client.wait_connected(self.connect_timeout):
                raise NotSent(self._why_not(client))
            try:
                yield client
            finally:
                _warn(client)

    def dead_letters(self) -> DeadLetters:
        """Make what looks after the dead letters; it needs nothing on the broker, and does not start yet.

        Raises:
            BadArguments: An option is wrong.
        """
        with _wrong_arguments():
            return DeadLetters(self.name, **self._arguments())

    @contextmanager
    def open_dead_letters(self) -> Iterator[DeadLetters]:
        """Return the dead letters, connected; Amphora's exceptions within the context end the command.

        Raises:
            NotSent: The broker cannot be reached, or refuses.
        """
        with errors_end_the_command(), self.dead_letters() as dead:
            if not dead.wait_connected(self.connect_timeout):
                raise NotSent(_waited(self.connect_timeout, dead))
            yield dead

    def _arguments(self) -> dict[str, Any]:
        chosen = {"json": RpcJsonSerializer, "msgpack": RpcMsgpackSerializer}
        other = [] if self.serializer == "json" else [RpcJsonSerializer]
        return {
            "broker_url": self.broker_url,
            "ssl": self.ssl,
            "serializer": chosen[self.serializer],
            "accept": other,
            "signing_keys": self.signing_keys,
            "max_received_size": self.max_received_size,
            "identify": self.identify,
        }

    def _why_not(self, client: AmqpRpcClient) -> str:
        trouble = client.trouble
        if trouble is not None and trouble.reply_code == _NOT_FOUND:
            return (
                f"service {self.name!r} was never served on {client.broker} (waited for {self.connect_timeout:g} s): "
                f"{trouble.reply_text}"
            )
        return _waited(self.connect_timeout, client)


def _warn(client: AmqpRpcClient) -> None:
    """Say which answers of servers were left out, and whose clocks differ."""
    for uuid, why in client.inspect.left_out.items():
        print_line((f"an answer of {uuid!r} was left out: {why}", "yellow"), err=True)
    for clock in client.inspect.clocks.values():
        if abs(clock.ahead) > CLOCKS:
            direction = "ahead of" if clock.ahead > 0 else "behind"
            text = f"the clock of {clock.host}:{clock.pid} is {abs(clock.ahead):.0f} s {direction} this machine's"
            print_line((text, "yellow"), err=True)


def _waited(seconds: float, endpoint: AmqpRpcClient | DeadLetters) -> str:
    return f"waited for {seconds:g} s: {why_not_connected(endpoint)}"


def why_not_connected(endpoint: AmqpRpcClient | DeadLetters) -> str:
    """Return what keeps a client from being connected, with the options of the command line."""
    trouble = endpoint.trouble
    return endpoint.state if trouble is None else with_options_named(trouble)


def service_of(context: click.Context) -> TargetService:
    """Return the service that is meant on the command line of a command with `service_options`.

    Raises:
        BadArguments: What is said of the broker cannot be meant.
    """
    given = context.params
    broker, key_file = given["broker"], given["signing_key_file"]
    if (broker or "").startswith("memory:"):
        raise BadArguments("memory:// is within one process, and the servers are in others: name a RabbitMQ")
    return TargetService(
        name=given["namespace"],
        fanout=given["fanout"],
        broker_url=broker or None,
        connect_timeout=given["connect_timeout"],
        serializer=given["serializer"],
        max_received_size=given["max_received_size"],
        identify=given["identify"],
        signing_keys=(key_file.read_bytes().rstrip(b"\r\n"),) if key_file else (),
        ssl=TlsOptions.of(context).for_brokers(broker),
    )


@contextmanager
def amphora_logs(*, verbose: bool) -> Iterator[None]:
    """Show what Amphora logs, or keep it from standard error, where the command itself says what went wrong."""
    logger = logging.getLogger("amphora")
    handler: logging.Handler = logging.NullHandler()
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before[0]
        logger.setLevel(before[1])


@contextmanager
def _wrong_arguments() -> Iterator[None]:
    try:
        yield
    except (ImportError, TypeError, ValueError) as error:
        raise BadArguments(str(error)) from error
