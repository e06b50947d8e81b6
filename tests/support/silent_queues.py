"""Queues whose process does not answer, as when the node of a queue is down on RabbitMQ 4."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.broker import Broker

__all__ = ["silent"]


@contextmanager
def silent(broker: Broker, queue: str) -> Iterator[None]:
    """Have a queue's process answer nothing for a while."""
    found = (
        f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), Pid = amqqueue:get_pid(Q)'
    )
    broker.eval(f"{found}, sys:suspend(Pid).")
    try:
        yield
    finally:
        broker.eval(f"{found}, sys:resume(Pid).")
