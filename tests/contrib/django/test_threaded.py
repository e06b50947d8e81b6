"""Clients in processes that gevent has not patched: with the setting THREADED they live in threads."""

from pathlib import Path

from gevent.event import Event

from amphora import AmqpRpcServer
from tests.conftest import StartProgram
from tests.contrib.django.conftest import environment_of_project
from tests.support.broker import Broker
from tests.support.eventually import wait_until

PROGRAM = Path(__file__).with_name("threaded_site.py")


def test_threads_call_in_a_process_that_is_not_patched_and_in_one_that_it_forks(
    start_program: StartProgram, broker: Broker, service: str
) -> None:
    server = AmqpRpcServer(f"django_shop{service}", broker_url=broker.url)
    server.add_function(lambda x, y: x + y, "add")
    server.add_function(lambda order_id: {"order": order_id, "total": order_id * 10}, "orders.total")
    environment = environment_of_project(SHOP_BROKER_URL=broker.url, SHOP_SUFFIX=service, SHOP_DATABASE=":memory:")

    with server:
        program = start_program(PROGRAM, env={**environment, "SHOP_THREADED": "yes"})
        assert program.wait(timeout=90) == 0
        # Those of 60 pages, and of the two calls.
        wait_until(lambda: server.stats()["requests"] == 62)

    assert program.lines == [
        "ThreadedClient True",
        f"3 django_shop{service} True",
        "worker False True",
        "worker ended with 0",
        "parent True 0",
    ]


def test_calls_of_one_async_view_run_side_by_side(start_program: StartProgram, broker: Broker, service: str) -> None:
    present: list[str] = []
    complete = Event()

    def meet(name: str) -> str:
        present.append(name)
        if len(present) == 2:
            complete.set()
        assert complete.wait(60), "the other one does not come while this one waits"
        return name

    server = AmqpRpcServer(f"django_shop{service}", broker_url=broker.url)
    server.add_function(meet)
    environment = environment_of_project(SHOP_BROKER_URL=broker.url, SHOP_SUFFIX=service, SHOP_DATABASE=":memory:")

    with server:
        program = start_program(PROGRAM.with_name("async_site.py"), env={**environment, "SHOP_THREADED": "yes"})
        assert program.wait(timeout=90) == 0

    assert program.lines == ['{"met": ["Alice", "Bob"]}']
