"""The client of oslo.messaging, called from many threads."""

from __future__ import annotations

from typing import cast

import oslo_messaging

from peers.oslo.transport import TOPIC, transport
from peers.thread_driver import run_client


class OsloCaller:
    """Calls `echo` of the topic."""

    def __init__(self, broker_url: str) -> None:
        self._transport = transport(broker_url)
        self._client = oslo_messaging.get_rpc_client(self._transport, oslo_messaging.Target(topic=TOPIC), timeout=60)

    def call(self, payload: str) -> str:
        return cast(str, self._client.call({}, "echo", value=payload))

    def send(self, payload: str) -> None:
        self._client.cast({}, "echo", value=payload)  # returns when the broker has confirmed it

    def close(self) -> None:
        self._transport.cleanup()


if __name__ == "__main__":
    run_client(
        OsloCaller,
        packages=["oslo.messaging", "kombu", "amqp"],
        guarantees="persistent; both ways confirmed, one message at a time per pooled connection; the request is "
        "acknowledged **before** its method runs, the reply when it came; heartbeats, reconnects",
        request_queue=TOPIC,
    )
