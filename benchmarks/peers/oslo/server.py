"""The server of oslo.messaging, with its threading executor."""

from __future__ import annotations

import sys

import oslo_messaging

from peers.oslo.transport import CONCURRENCY, TOPIC, transport


class Endpoint:
    """Its methods are called with a context and keyword arguments."""

    def echo(self, _context: object, value: str) -> str:
        return value


def serve(broker_url: str) -> None:
    target = oslo_messaging.Target(topic=TOPIC, server="bench")
    server = oslo_messaging.get_rpc_server(transport(broker_url), target, [Endpoint()], executor="threading")
    server.conf.set_override("executor_thread_pool_size", CONCURRENCY)  # an option since the server was made
    server.start()
    print("ready", flush=True)
    server.wait()


if __name__ == "__main__":
    serve(sys.argv[1])
