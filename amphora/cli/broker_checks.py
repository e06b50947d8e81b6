"""What `amphora doctor` finds at the broker: connection, version, heartbeat, alarms, management API."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import replace
from time import gmtime, monotonic, strftime, time

import gevent

from amphora import AccessRefused, BrokerError, BrokerInfo, BrokerUnreachable, DeadLetters, VhostNotFound
from amphora.cli.exit_codes import NotSent
from amphora.cli.management import Management
from amphora.cli.report import Finding, Level
from amphora.cli.services import CLOCKS, TargetService, why_not_connected
from amphora.cli.wording import with_options_named
from amphora.options.brokers import given_in_url

__all__ = ["broker_findings", "management_findings"]

#: Seconds that a connection that is blocked takes to say so, after the first message.
_MOMENT = 0.2

#: Days before the end of a certificate from which on it is to be renewed.
_SOON = 14

_LOCAL = ("127.0.0.1", "::1", "localhost")


def broker_findings(service: TargetService) -> Iterator[Finding]:
    """Connect, declare nothing, and look at what the broker says.

    The last finding is an error where it cannot be connected to.
    """
    if service.ssl is False:
        yield from _url_findings(service.broker_url)
    # It is an endpoint that needs nothing on the broker, of whatever service.
    with replace(service, name=service.name or "amphora-doctor").dead_letters() as probe:
        yield from _connection_findings(probe, service.connect_timeout)


def _connection_findings(probe: DeadLetters, timeout: float) -> Iterator[Finding]:
    began = monotonic()
    try:
        connected = probe.wait_connected(timeout)
    except BrokerError as error:
        yield Finding("connection", Level.ERROR, with_options_named(error), _remedy(error))
        return
    if not connected:
        yield Finding("connection", Level.ERROR, why_not_connected(probe), _remedy(probe.trouble))
        return
    took = (monotonic() - began) * 1000
    yield Finding("connection", Level.GOOD, f"{probe.state} in {took:.0f} ms")
    info = probe.broker_info
    if info is not None:
        yield _version_finding(info.product, info.version, info.cluster)
        if info.tls:
            yield _tls_finding(info)
        if info.heartbeat:
            yield Finding("heartbeat", Level.GOOD, f"every {info.heartbeat:g} s: a silent network is noticed")
        else:
            yield Finding(
                "heartbeat",
                Level.WARNING,
                "none: a broker that is gone without a word is never noticed",
                "set `heartbeat = 60` in rabbitmq.conf, and not heartbeat=0 in clients and servers",
            )
    gevent.sleep(_MOMENT)
    if probe.blocked:
        yield Finding(
            "alarms",
            Level.ERROR,
            "the broker takes no messages: a memory or disk alarm",
            "`rabbitmq-diagnostics alarms` on the broker says which; free memory or disk there",
        )


def management_findings(management: Management) -> Iterator[Finding]:
    """Look at what the management API says."""
    try:
        found = management.overview()
    except NotSent as error:
        yield Finding(
            "management",
            Level.ERROR,
            error.message,
            "`rabbitmq-plugins enable rabbitmq_management`, and `rabbitmqctl set_user_tags USER monitoring`",
        )
        return
    nodes = found.get("node", "?")
    yield Finding("management", Level.GOOD, f"{management.address}, node {nodes}")
    yield clock_finding("the broker", management.clock_ahead or 0.0)


def clock_finding(whose: str, ahead: float) -> Finding:
    """Judge how far a clock is ahead of this machine's."""
    if abs(ahead) <= CLOCKS:
        return Finding("clock", Level.GOOD, f"that of {whose} and this machine's agree")
    return Finding(
        "clock",
        Level.WARNING,
        f"that of {whose} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's: deadlines and "
        "signatures compare them",
        "run NTP (chrony, systemd-timesyncd) on all machines",
    )


def _url_findings(broker_url: str | None) -> Iterator[Finding]:
    if broker_url is None:
        return
    try:
        brokers = given_in_url(broker_url)
    except ValueError:
        # What is wrong with it, the connection says.
        return
    for each in brokers:
        if each.scheme == "amqp" and each.host not in _LOCAL:
            yield Finding(
                "encryption",
                Level.WARNING,
                f"none on the way to {each.host}: its password and all messages can be read there",
                "use amqps:// (docs/tls.md), unless the network is yours alone",
            )


def _tls_finding(info: BrokerInfo) -> Finding:
    if info.certificate_ends is None:
        return Finding("encryption", Level.GOOD, info.tls)
    days = (info.certificate_ends - time()) / 86400
    until = strftime("%Y-%m-%d", gmtime(info.certificate_ends))
    text = f"{info.tls}, and the broker's certificate is trusted, until {until}"
    if days > _SOON:
        return Finding("encryption", Level.GOOD, text)
    return Finding(
        "encryption",
        Level.WARNING,
        f"{text}: for {days:.0f} more day{'s' * (round(days) != 1)}",
        "renew it, and then `rabbitmqctl eval 'ssl:clear_pem_cache().'` on the broker",
    )


def _version_finding(product: str, version: str, cluster: str) -> Finding:
    text = f"{product or 'unknown'} {version}{f', cluster {cluster}' if cluster else ''}"
    if product != "RabbitMQ":
        return Finding("broker", Level.WARNING, text, "Amphora is tested with RabbitMQ only")
    number = re.match(r"(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < (3, 10):
        return Finding("broker", Level.WARNING, text, "Amphora is tested with RabbitMQ 3.10 and later: upgrade it")
    return Finding("broker", Level.GOOD, text)


def _remedy(error: BrokerError | None) -> str:
    if isinstance(error, AccessRefused):
        if error.login_failed:
            return "check user and password in the URL; on the broker, `rabbitmqctl authenticate_user`"
        return "`rabbitmqctl list_permissions -p VHOST` on the broker (docs/security.md)"
    if isinstance(error, VhostNotFound):
        return "`rabbitmqctl add_vhost VHOST` and `rabbitmqctl set_permissions` on the broker"
    if isinstance(error, BrokerUnreachable):
        if error.tls:
            return "docs/tls.md"
        if error.errno == errno.ECONNREFUSED:
            return "is RabbitMQ running there, and is it this port? `rabbitmq-diagnostics listeners` tells"
        if error.errno == errno.ETIMEDOUT:
            return "is there a firewall in between, and is it this host and port?"
    return "check host and port"
