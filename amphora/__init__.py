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
"""

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
