"""Asynchronous remote procedure calls over AMQP (RabbitMQ), on Kombu and gevent.

A server registers functions, a client calls them::

    server = AmqpRpcServer("math")

    @server.add_function
    def add(x, y):
        return x + y

    server.serve(nowait=False)

::

    client = AmqpRpcClient("math")
    client.call.add(1, 2)           # 3
    client.defer.add(1, 2).get()    # 3

What is where:

============================ ==========================================================================================
``client/``                  `AmqpRpcClient`, its calls, label queues, `Inspector`, bound classes and stubs
``server/``                  `AmqpRpcServer`, its registry of functions, requests, replies and workers; `run_servers`
``endpoint/``                what both share: start and stop, the queues of a service, health, `DeadLetters`
``threads/``                 `ThreadedClient`, for programs that gevent does not patch
``links/``, ``driver/``      connections to the broker (Kombu, gevent), and the bytes on them
``core/``                    the state machines, without clock, event loop, socket or log
``protocol/``                the wire format: messages, names, headers, signatures, deadlines
``options/``                 the options of clients and servers, validated
``serializers/``             JSON and MessagePack, and the class to write your own
``contrib/``                 Django, Celery, OpenTelemetry, Prometheus
``cli/``, ``testing/``       the command ``amphora``; services in the process of your tests
============================ ==========================================================================================

Each public name is loaded when it is first used: ``import amphora`` imports neither gevent nor Kombu, so that a program
can let gevent patch the standard library after it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amphora.client.caller import PrettyCaller
    from amphora.client.client import AmqpRpcClient
    from amphora.client.fanout import AmqpRpcFanoutClient
    from amphora.client.inspector import Inspector, RemoteFunction, ServerClock, ServerHealth, ServerInfo
    from amphora.client.middleware import OutgoingRequest
    from amphora.client.stubs import stub_of
    from amphora.durations import Histogram
    from amphora.endpoint.current_request import CurrentRequest, call_deadline, current_request
    from amphora.endpoint.dead_letters import DeadLetter, DeadLetters
    from amphora.endpoint.health import Health
    from amphora.endpoint.log_fields import RequestLogFilter
    from amphora.exceptions import (
        AccessRefused,
        AmqpRpcException,
        Backlogged,
        BrokerError,
        BrokerUnreachable,
        DeadLettered,
        Forbidden,
        IgnoreRequest,
        MessageRejected,
        MessageTooLarge,
        NoResult,
        PublishNacked,
        RemoteException,
        RequestStage,
        TopologyConflict,
        Unroutable,
        VhostNotFound,
        WrongRequest,
        WrongResult,
    )
    from amphora.links.connection import BrokerInfo
    from amphora.links.topology import QueueStatus
    from amphora.options.overrides import override_arguments
    from amphora.options.text_values import parse_keyword_arguments, parse_value
    from amphora.protocol.signatures import sign_request
    from amphora.serializers import AbstractRpcSerializer, RpcJsonSerializer, RpcMsgpackSerializer
    from amphora.server.descriptions import FunctionDescription, describe_function
    from amphora.server.fanout import AmqpRpcFanoutServer
    from amphora.server.function_names import add_or_decorate, remote_name
    from amphora.server.permissions import require_user
    from amphora.server.server import AmqpRpcServer
    from amphora.server.serving import Serving, run_servers
    from amphora.threads.threaded_client import ThreadedClient, make_client
    from amphora.threads.threaded_result import ThreadedResult
    from amphora.version import __version__

#: The modules that define the public names.
_HOMES = {
    "AbstractRpcSerializer": "amphora.serializers",
    "AccessRefused": "amphora.exceptions",
    "AmqpRpcClient": "amphora.client.client",
    "AmqpRpcException": "amphora.exceptions",
    "AmqpRpcFanoutClient": "amphora.client.fanout",
    "AmqpRpcFanoutServer": "amphora.server.fanout",
    "AmqpRpcServer": "amphora.server.server",
    "Backlogged": "amphora.exceptions",
    "BrokerError": "amphora.exceptions",
    "BrokerInfo": "amphora.links.connection",
    "BrokerUnreachable": "amphora.exceptions",
    "CurrentRequest": "amphora.endpoint.current_request",
    "DeadLetter": "amphora.endpoint.dead_letters",
    "DeadLettered": "amphora.exceptions",
    "DeadLetters": "amphora.endpoint.dead_letters",
    "Forbidden": "amphora.exceptions",
    "FunctionDescription": "amphora.server.descriptions",
    "Health": "amphora.endpoint.health",
    "Histogram": "amphora.durations",
    "IgnoreRequest": "amphora.exceptions",
    "Inspector": "amphora.client.inspector",
    "MessageRejected": "amphora.exceptions",
    "MessageTooLarge": "amphora.exceptions",
    "NoResult": "amphora.exceptions",
    "OutgoingRequest": "amphora.client.middleware",
    "PrettyCaller": "amphora.client.caller",
    "PublishNacked": "amphora.exceptions",
    "QueueStatus": "amphora.links.topology",
    "RemoteException": "amphora.exceptions",
    "RemoteFunction": "amphora.client.inspector",
    "RequestLogFilter": "amphora.endpoint.log_fields",
    "RequestStage": "amphora.exceptions",
    "RpcJsonSerializer": "amphora.serializers",
    "RpcMsgpackSerializer": "amphora.serializers",
    "ServerClock": "amphora.client.inspector",
    "ServerHealth": "amphora.client.inspector",
    "ServerInfo": "amphora.client.inspector",
    "Serving": "amphora.server.serving",
    "ThreadedClient": "amphora.threads.threaded_client",
    "ThreadedResult": "amphora.threads.threaded_result",
    "TopologyConflict": "amphora.exceptions",
    "Unroutable": "amphora.exceptions",
    "VhostNotFound": "amphora.exceptions",
    "WrongRequest": "amphora.exceptions",
    "WrongResult": "amphora.exceptions",
    "__version__": "amphora.version",
    "add_or_decorate": "amphora.server.function_names",
    "call_deadline": "amphora.endpoint.current_request",
    "current_request": "amphora.endpoint.current_request",
    "describe_function": "amphora.server.descriptions",
    "make_client": "amphora.threads.threaded_client",
    "override_arguments": "amphora.options.overrides",
    "parse_keyword_arguments": "amphora.options.text_values",
    "parse_value": "amphora.options.text_values",
    "remote_name": "amphora.server.function_names",
    "require_user": "amphora.server.permissions",
    "run_servers": "amphora.server.serving",
    "sign_request": "amphora.protocol.signatures",
    "stub_of": "amphora.client.stubs",
}

__all__ = [
    "AbstractRpcSerializer",
    "AccessRefused",
    "AmqpRpcClient",
    "AmqpRpcException",
    "AmqpRpcFanoutClient",
    "AmqpRpcFanoutServer",
    "AmqpRpcServer",
    "Backlogged",
    "BrokerError",
    "BrokerInfo",
    "BrokerUnreachable",
    "CurrentRequest",
    "DeadLetter",
    "DeadLettered",
    "DeadLetters",
    "Forbidden",
    "FunctionDescription",
    "Health",
    "Histogram",
    "IgnoreRequest",
    "Inspector",
    "MessageRejected",
    "MessageTooLarge",
    "NoResult",
    "OutgoingRequest",
    "PrettyCaller",
    "PublishNacked",
    "QueueStatus",
    "RemoteException",
    "RemoteFunction",
    "RequestLogFilter",
    "RequestStage",
    "RpcJsonSerializer",
    "RpcMsgpackSerializer",
    "ServerClock",
    "ServerHealth",
    "ServerInfo",
    "Serving",
    "ThreadedClient",
    "ThreadedResult",
    "TopologyConflict",
    "Unroutable",
    "VhostNotFound",
    "WrongRequest",
    "WrongResult",
    "__version__",
    "add_or_decorate",
    "call_deadline",
    "current_request",
    "describe_function",
    "make_client",
    "override_arguments",
    "parse_keyword_arguments",
    "parse_value",
    "remote_name",
    "require_user",
    "run_servers",
    "sign_request",
    "stub_of",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
