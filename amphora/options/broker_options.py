"""`BrokerOptions`: where the broker is, and how a connection to it is made and kept."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from amphora.options.brokers import (
    AMQP_HOST,
    AMQP_PASSWORD,
    AMQP_PORT,
    AMQP_USER,
    AMQP_VHOST,
    BrokerAddress,
    addresses,
    host_of,
    port_of,
    text_of,
    url_of,
)
from amphora.options.fields import Where, check_fields, option, options_of
from amphora.options.overrides import overridden
from amphora.options.settings import LinkSettings, SslOption, ssl_of
from amphora.value_checks import boolean, heartbeat_of, seconds

__all__ = ["BrokerOptions"]

#: With Celery, the URL says all about the broker.
_NOT_IN_CELERY = Where.CONSTRUCTOR | Where.DJANGO


@dataclass(frozen=True, kw_only=True)
class BrokerOptions:
    """Where the broker is, and how a connection to it is made and kept.

    Every value is checked by its field's own check when an object is made, and by `check_together`.

    Raises:
        TypeError, ValueError: A value is wrong, or values contradict each other.
    """

    #: Which documentation of the fields is that of this class; see `amphora.options.fields.Option`.
    role: ClassVar[str] = ""

    broker_url: str | None = option(
        "``amqp://user:password@host:port/vhost``, ``amqps://...`` (TLS), several of them separated by ``;`` (the "
        "nodes of a cluster, tried in order), or ``memory://`` (this process only, for tests and demos). Instead of "
        "the ``amqp_*`` arguments.",
        default=None,
        check=url_of,
        flags=("--broker",),
        summary="`amqp://user:password@host:port/vhost`, `amqps://...`, `memory://`; several, separated by `;`, for a "
        "[cluster](clusters.md). [Percent-encode](security.md#passwords) the password",
        secret=True,
    )
    amqp_host: str = option(
        "Host name or IP address of the broker.", default=AMQP_HOST, check=host_of, where=_NOT_IN_CELERY
    )
    amqp_port: int = option("TCP port of the broker.", default=AMQP_PORT, check=port_of, where=_NOT_IN_CELERY)
    amqp_user: str = option("User name.", default=AMQP_USER, check=text_of, where=_NOT_IN_CELERY)
    amqp_password: str = option("Password.", default=AMQP_PASSWORD, check=text_of, where=_NOT_IN_CELERY, secret=True)
    amqp_vhost: str = option("Virtual host.", default=AMQP_VHOST, check=text_of, where=_NOT_IN_CELERY)
    ssl: SslOption = option(
        "TLS: True for the system's certificates, an `ssl.SSLContext`, or a dict with any of ``ca_certs``, "
        "``certfile``, ``keyfile``, ``password``, ``server_hostname``, ``check_hostname`` and ``verify``. "
        "Certificates are verified unless that says otherwise.",
        default=False,
        check=ssl_of,
        flags=("--tls-ca", "--tls-cert", "--tls-key", "--tls-server-name"),
        summary="`True`, an `ssl.SSLContext`, or a dict (`ca_certs`, `certfile`, `keyfile`, ...): [TLS](tls.md)",
        secret=True,
    )
    shuffle_brokers: bool = option(
        "Whether to try the brokers of ``broker_url`` in a random order instead, so that many processes do not all use "
        "the first one.",
        default=False,
        check=boolean,
    )
    heartbeat: int = option(
        "Seconds (whole ones) between heartbeats; a broker silent for two of them is taken for lost. 0 switches "
        "heartbeats off, and with them the notice of a silent network.",
        server="Seconds (whole ones) between heartbeats; a broker silent for two of them is taken for lost. A function "
        "may keep the processor busy for nearly as long. 0 switches heartbeats off, and with them the notice of a "
        "silent network.",
        default=30,
        check=heartbeat_of,
        summary="Seconds (whole ones) between heartbeats; 0 for none",
    )
    connect_timeout: float = option(
        "Seconds for an attempt to connect, and for any one answer of the broker.",
        default=10.0,
        check=seconds,
        flags=("--connect-timeout",),
    )
    reconnect_delay_max: float = option(
        "The most seconds between attempts to connect; the first attempt is made at once, then the delay grows, with "
        "jitter.",
        default=1.0,
        check=seconds,
        summary="The most seconds between attempts to connect",
    )

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Make the options of an endpoint from the arguments of its constructor, and from what overrides them.

        Args:
            arguments: The constructor's ``locals()``: of these, the values of the fields are taken.

        Raises:
            TypeError, ValueError: A value is wrong, or values contradict each other.
        """
        known = options_of(cls)
        return cls(**overridden({name: value for name, value in arguments.items() if name in known}, known))

    def __post_init__(self) -> None:
        check_fields(self)
        self.check_together()

    def check_together(self) -> None:
        """Check what no field can tell by itself.

        Raises:
            ValueError: Values contradict each other.
        """
        _ = self.brokers

    @cached_property
    def brokers(self) -> tuple[BrokerAddress, ...]:
        """The addresses of the broker, in the order in which both connections of an endpoint try them."""
        found = addresses(
            self.broker_url,
            host=self.amqp_host,
            port=self.amqp_port,
            user=self.amqp_user,
            password=self.amqp_password,
            vhost=self.amqp_vhost,
        )
        return tuple(random.sample(found, len(found))) if self.shuffle_brokers else found

    @property
    def link_settings(self) -> LinkSettings:
        """What the links are given."""
        return LinkSettings(
            self.brokers,
            self.ssl,
            self.heartbeat,
            self.connect_timeout,
            reconnect_delay_max=self.reconnect_delay_max,
        )
