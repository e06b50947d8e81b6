"""A client of examples/math_server.py: calls, deferred calls, and exceptions of the remote function."""

from gevent import monkey

monkey.patch_all()

import os

from amphora import AmqpRpcClient, RemoteException, WrongRequest

BROKER_URL = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")

with AmqpRpcClient("math", timeout=10, broker_url=BROKER_URL) as client:
    print("add(2, 3) =", client.call.add(2, 3))
    print("sub(10, 3) =", client.call.sub(10, 3))
    print("div(64, 16) =", client.call.div(64, 16))
    print("sum_numbers(1, 2, 3, 4) =", client.call.sum_numbers(1, 2, 3, 4))

    # Both requests are under way before the first result is looked at.
    results = [client.defer.hypotenuse(3, 4), client.defer.hypotenuse(5, 12)]
    print("hypotenuses:", [result.get() for result in results])

    try:
        client.call.hypotenuse("foo", "bar")
    except RemoteException as error:
        print("RemoteException:", error)

    try:
        client.call.div(-5, 5)
    except RemoteException as error:
        print("RemoteException of type", error.error_type, "with args", error.args)

    try:
        client.call.cube_root(27)
    except WrongRequest as error:
        print("WrongRequest:", error)
