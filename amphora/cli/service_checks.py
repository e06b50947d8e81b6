"""What `amphora doctor` finds of one service: queues and their arguments, permissions, servers, dead letters."""

from __future__ import annotations

from collections.abc import Iterator

from amphora import (
    AccessRefused,
    AmqpRpcClient,
    AmqpRpcException,
    BrokerError,
    NoResult,
    TopologyConflict,
    WrongRequest,
)
from amphora.cli.broker_checks import clock_finding
from amphora.cli.queue_answers import ask_about_queues, no_answer
from amphora.cli.report import Finding, Level
from amphora.cli.services import CLOCKS, TargetService, why_not_connected

__all__ = ["service_findings"]

#: Seconds for the answers of servers.
_ANSWER = 5.0

#: The same where no server is known.
_BRIEFLY = 1.0

_PERMISSIONS = "docs/security.md#permissions has those that a client needs"


def service_findings(service: TargetService, *, queue_type: str, delivery_limit: int | None) -> Iterator[Finding]:
    """Look at a service as a client of it.

    Args:
        service: The service.
        queue_type: The type that its clients and servers are made with.
        delivery_limit: The limit that they are made with.
    """
    # It declares nothing: the limit only says that there may be a queue of dead letters.
    looks_for_letters = delivery_limit if service.fanout else delivery_limit or 2
    with service.client(queue_type=queue_type, delivery_limit=looks_for_letters) as client:
        try:
            connected = client.wait_connected(service.connect_timeout)
        except AccessRefused as error:
            yield Finding("permissions", Level.ERROR, str(error), _PERMISSIONS)
            return
        except BrokerError as error:
            yield Finding("service", Level.ERROR, str(error), "see the message")
            return
        if not connected:
            yield Finding(
                "service",
                Level.ERROR,
                f"{service.name!r} is not there: {why_not_connected(client)}",
                "start a server of it, such as `amphora serve package.module:server`; check the name and the vhost",
            )
            return
        if not service.fanout:
            yield from _arguments_findings(service, queue_type, delivery_limit)
            yield from _queue_findings(client)
        yield from _server_findings(client)


def _arguments_findings(service: TargetService, queue_type: str, delivery_limit: int | None) -> Iterator[Finding]:
    """Declare what is there already, as any client does: the broker compares."""
    given = f"queue_type={queue_type!r}" + ("" if delivery_limit is None else f", delivery_limit={delivery_limit}")
    with service.client(queue_type=queue_type, delivery_limit=delivery_limit, declare=True) as client:
        try:
            client.wait_connected(service.connect_timeout)
        except TopologyConflict as error:
            yield Finding(
                "queue arguments",
                Level.ERROR,
                str(error),
                "name those of the service with --queue-type and --delivery-limit, and give them to all clients and "
                "servers; docs/clusters.md says how to change them",
            )
        except AccessRefused as error:
            yield Finding(
                "permissions", Level.WARNING, f"this user may not declare: {error}", f"declare=False, or {_PERMISSIONS}"
            )
        except BrokerError as error:
            yield Finding("queue arguments", Level.ERROR, str(error), "see the message")
        else:
            if client.adapted_queues:
                names = ", ".join(map(repr, client.adapted_queues))
                yield Finding(
                    "queue arguments",
                    Level.WARNING,
                    f"{names}: declared by an earlier release of Amphora, without the type or the delivery limit of "
                    f"{given}; RabbitMQ 4 may drop requests of a quorum queue that were delivered 20 times",
                    "set a policy with a higher delivery-limit, or delete and declare the queue again; "
                    "docs/clusters.md says how",
                )
            else:
                own = f"rpc_{client.service_name}_request"
                text = f"as declared with {given}: {own!r} is a {client.queue_type} queue"
                yield Finding("queue arguments", Level.GOOD, text)
            yield from _durability_findings(client)


def _durability_findings(client: AmqpRpcClient) -> Iterator[Finding]:
    """Say where a confirm does not mean that a message is on disk."""
    info = client.broker_info
    release = info.version.partition(".")[0] if info is not None and info.product == "RabbitMQ" else ""
    if client.queue_type == "classic" and release.isdigit() and int(release) >= 4:
        yield Finding(
            "durability",
            Level.NOTE,
            f"RabbitMQ {release} confirms messages to classic queues before they are synced to disk: a power cut or a "
            "kernel crash may lose confirmed requests",
            "move the service to quorum queues: docs/clusters.md#from-classic-to-quorum; or accept it: "
            "docs/operations.md#what-a-confirm-is-worth",
        )


def _queue_findings(client: AmqpRpcClient) -> Iterator[Finding]:
    own, dead = f"rpc_{client.service_name}_request", f"rpc_{client.service_name}_dead"
    status, unanswered = ask_about_queues(client)
    for name in unanswered:
        yield Finding(
            "queue", Level.ERROR, no_answer(repr(name)), "start that node; `rabbitmqctl cluster_status` shows which"
        )
    found = status.get(own)
    if own in unanswered:
        pass
    elif found is None:
        text = f"{own!r} is gone"
        yield Finding("queue", Level.ERROR, text, "start a server or a client, which declare it again")
    elif not found.consumers:
        text = f"{own!r} has no consumer, and {found.messages} waiting"
        yield Finding("queue", Level.ERROR, text, "start a server: `amphora serve package.module:server`")
    elif found.messages > 100 * found.consumers:
        yield Finding(
            "queue",
            Level.WARNING,
            f"{own!r} has {found.messages} waiting for {_consumers(found.consumers)}",
            "start more servers, or raise their concurrency; `amphora top` shows whether they keep up",
        )
    else:
        yield Finding("queue", Level.GOOD, f"{own!r}: {found.messages} waiting, {_consumers(found.consumers)}")
    letters = status.get(dead)
    if letters is not None and letters.messages:
        yield Finding(
            "dead letters",
            Level.WARNING,
            f"{letters.messages} requests were given up",
            f"look at them: `amphora requeue-dead {client.service_name} --dry-run`",
        )


def _server_findings(client: AmqpRpcClient) -> Iterator[Finding]:
    # One consumer a server, unless labels or fan-out are in play: then all of the time is waited for.
    queues = ask_about_queues(client).found
    consumers = sum(each.consumers for each in queues.values() if each is not None)
    servers = client.inspect.ping(timeout=_ANSWER if consumers else _BRIEFLY, limit=consumers or None)
    if servers:
        versions = sorted({each.version for each in servers})
        text = f"{len(servers)} answer{'s' if len(servers) == 1 else ''}, Amphora {', '.join(versions)}"
        if len(versions) == 1:
            yield Finding("servers", Level.GOOD, text)
        else:
            yield Finding("servers", Level.NOTE, text, "several versions: is an upgrade still going on?")
        wrong = [each for each in servers if each.clock_ahead is not None and abs(each.clock_ahead) > CLOCKS]
        for each in wrong or servers[:1]:
            if each.clock_ahead is not None:
                yield clock_finding(f"{each.host}" if wrong else "the servers", each.clock_ahead)
    else:
        yield Finding(
            "servers",
            Level.WARNING,
            "none answers",
            "none is there, or they are made with introspection=False, or of Amphora 0.1",
        )
    try:
        client.call(function_name="amphora.ping", timeout=_ANSWER)()
    except WrongRequest as error:
        # The way there and back is what was to be seen.
        yield Finding("round trip", Level.GOOD, f"a request was answered (with: {error})")
    except NoResult as error:
        yield Finding("round trip", Level.ERROR, str(error), "is a server there, and is it stuck? `amphora top` shows")
    except AccessRefused as error:
        yield Finding("permissions", Level.ERROR, str(error), _PERMISSIONS)
    except AmqpRpcException as error:
        yield Finding("round trip", Level.ERROR, str(error), "see the message")
    else:
        yield Finding("round trip", Level.GOOD, "a request was answered")


def _consumers(number: int) -> str:
    return f"{number} consumer{'s' * (number != 1)}"
