"""A user's typed program, which only mypy reads (see test_typing.py): it must pass in strict mode.

An error that mypy is to report bears a `type: ignore` with its code: strict mode fails where one is not needed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, assert_type

from gevent.event import AsyncResult

from amphora import (
    AbstractRpcSerializer,
    AmqpRpcClient,
    AmqpRpcException,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    BrokerError,
    CurrentRequest,
    PrettyCaller,
    RemoteException,
    RpcJsonSerializer,
    RpcMsgpackSerializer,
    Unroutable,
    current_request,
)
from amphora.contrib.opentelemetry_instrumentor import AmphoraInstrumentor


class UpperSerializer(AbstractRpcSerializer):
    content_type = "text/x-upper"

    def dumps(self, value: Any) -> bytes:
        return str(value).upper().encode()

    def loads(self, body: bytes) -> Any:
        return body.decode()


server = AmqpRpcServer(
    "math", RpcJsonSerializer, broker_url="amqp://", accept=[RpcMsgpackSerializer, UpperSerializer()]
)


# add_function keeps the function's type in its four forms.


def add(x: int, y: int) -> int:
    return x + y


assert_type(server.add_function(add)(1, 2), int)
assert_type(server.add_function(add, name="sum")(1, 2), int)


@server.add_function
def multiply(x: int, y: int) -> int:
    return x * y


@server.add_function("div")
def divide(x: float, y: float) -> float:
    return x / y


@server.add_function(name="sub")
def subtract(x: int, y: int) -> str:
    return str(x - y)


assert_type(multiply(1, 2), int)
assert_type(divide(1, 2), float)
assert_type(subtract(1, 2), str)
multiply("1", 2)  # type: ignore[arg-type]
divide(1)  # type: ignore[call-arg]
server.add_function(5)  # type: ignore[call-overload]

# The rest of a server.

assert_type(server.receive_from_queue("Alice", max_calls=1, timeout=2.5, block=True, wait_for_queue=False), int | None)
assert_type(server.prepare_stop(), bool)
assert_type(server.prepare_stop(timeout=None), bool)
assert_type(server.uuid, str)
assert_type(server.functions, dict[str, Callable[..., Any]])
assert_type(server.connected, bool)
assert_type(server.wait_connected(5), bool)
server.receive_from_queue(5)  # type: ignore[arg-type]
server.serve(nowait=False)
server.stop_publisher()
server.stop_consumer()
server.stop()

with AmqpRpcServer("math") as one:
    assert_type(one, AmqpRpcServer)
with AmqpRpcFanoutServer("math", amqp_port=5673, uuid="this-host", queue_type="quorum") as another:
    assert_type(another, AmqpRpcFanoutServer)

# A client. What a remote function returns nobody can know here.

client = AmqpRpcClient("math", "my-uuid", UpperSerializer, 5.0, False, ssl={"ca_certs": "ca.pem"})
assert_type(client.call, PrettyCaller)
assert_type(client.call.send_message.email, PrettyCaller)
total: int = client.call.add(1, y=2)
total = client.call(timeout=5, routing_key="x").add(1, 2)
result: AsyncResult[int] = client.defer(wait_publish=False).add(1, 2)
AmqpRpcClient("math", broker_url="amqp://a;amqp://b", shuffle_brokers=True, queue_type="quorum")
total = client.call(timeout=5, expires=True).add(1, 2)
AmqpRpcClient("math", timeout="5")  # type: ignore[arg-type]
AmqpRpcClient("math", serialiser=RpcJsonSerializer)  # type: ignore[call-arg]


@client.tune_function("show_message")
def by_user(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    return args[0] if args else kwargs.get("user")


assert_type(by_user(["Alice"], {}), str | None)


@client.tune_function("show_message")  # type: ignore[type-var]
def wrong() -> str:
    return "Alice"


client.create_new_request_queue("Alice", routing_key="alice", x_expires=60_000, nowait=True)
client.remove_request_queue("Alice", nowait=True)

with AmqpRpcFanoutClient("news", broker_url="memory://") as broadcaster:
    assert_type(broadcaster, AmqpRpcFanoutClient)

# Functions that a class describes.


class Text(Protocol):
    def upper(self, text: str) -> str: ...


class Math(Protocol):
    text: Text

    def add(self, x: int, y: int = 1) -> int: ...


math = client.bind(Math, timeout=5)
assert_type(math, Math)
assert_type(math.add(1, y=2), int)
assert_type(math.text.upper("a"), str)
assert_type(client.bind(Text, prefix="text").upper("a"), str)
math.add("1")  # type: ignore[arg-type]
math.subtract(1, 2)  # type: ignore[attr-defined]

# The request that a function runs for.

request = current_request()
assert_type(request, CurrentRequest | None)
if request is not None:
    assert_type(request.remaining, float | None)
    assert_type(request.headers, Mapping[str, Any])
    request.deadline = 5.0  # type: ignore[misc]

# The instrumentor for OpenTelemetry.

AmphoraInstrumentor().instrument(tracer_provider=None)
AmphoraInstrumentor().uninstrument()

# Exceptions.

try:
    client.call.add(1, 2)
except RemoteException as error:
    assert_type(error.error_type, str)
    assert_type(error.remote_traceback, str | None)
except (Unroutable, BrokerError) as trouble:
    root: AmqpRpcException = trouble
raise RemoteException("ValueError", ("x", -5))
