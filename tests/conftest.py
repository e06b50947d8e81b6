"""The fixtures of all tests: brokers, names that no other test has, programs, proxies."""

import re
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Protocol
from uuid import uuid4

import amqp
import pytest
from pytest_rabbitmq.config import get_config

from tests.support.broker import DEBIAN_PROGRAMS, Broker
from tests.support.cluster import Cluster
from tests.support.pages import Reading
from tests.support.processes import Program
from tests.support.proxy import Proxy


class StartBroker(Protocol):
    """Start a node with lines of rabbitmq.conf on top of the defaults."""

    def __call__(self, config: Mapping[str, str | int] | None = None) -> Broker: ...


class NewCluster(Protocol):
    """Start a cluster of nodes; whoever calls it closes it."""

    def __call__(self) -> Cluster: ...


class StartProgram(Protocol):
    """Start a Python program as a child process; see `Program`."""

    def __call__(self, *arguments: object, env: Mapping[str, str] | None = None) -> Program: ...


@pytest.fixture(scope="session")
def new_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartBroker]:
    """Start nodes that live until the end of the session; tests use the fixtures below."""
    brokers: list[Broker] = []
    server, ctl = _programs_of_options(request)

    def start(config: Mapping[str, str | int] | None = None) -> Broker:
        broker = Broker(tmp_path_factory.mktemp("broker"), config, server=server, ctl=ctl)
        brokers.append(broker)
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.close()


@pytest.fixture(scope="session")
def new_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewCluster]:
    """Start clusters that live until the end of the session, unless they are closed before."""
    clusters: list[Cluster] = []
    server, ctl = _programs_of_options(request)

    def new_node(neighbour: Broker | None) -> Broker:
        return Broker(tmp_path_factory.mktemp("node"), server=server, ctl=ctl, neighbour=neighbour)

    def start() -> Cluster:
        cluster = Cluster(new_node)
        clusters.append(cluster)
        cluster.start()
        return cluster

    yield start
    for cluster in clusters:
        cluster.close()


def _programs_of_options(request: pytest.FixtureRequest) -> tuple[str | None, str | None]:
    """Take RabbitMQ's server and ctl from pytest-rabbitmq's options where those are not the defaults."""
    given = get_config(request)
    server, ctl = (None if path.startswith(str(DEBIAN_PROGRAMS)) else path for path in (given.server, given.ctl))
    return server, ctl


@pytest.fixture(scope="session")
def broker(new_broker: StartBroker) -> Broker:
    """The node that most tests share: use names of your own (`service`, `unique_name`) and leave it running."""
    return new_broker()


@pytest.fixture(scope="session")
def _breakable_broker(new_broker: StartBroker) -> Broker:
    return new_broker()


@pytest.fixture
def own_broker(_breakable_broker: Broker) -> Iterator[Broker]:
    """A node to stop, kill, pause and empty: it runs when the test starts, whatever the one before did to it.

    What earlier tests left in it is still there unless they wiped it: use names of your own here too.
    """
    _breakable_broker.heal()
    yield _breakable_broker
    # Now, and not only before the next test: a paused node would hang the clients that this test still closes.
    _breakable_broker.resume()


@pytest.fixture
def start_broker(new_broker: StartBroker) -> Iterator[StartBroker]:
    """Start nodes with a configuration of their own, which end with the test; each takes some seconds."""
    brokers: list[Broker] = []

    def start(config: Mapping[str, str | int] | None = None) -> Broker:
        brokers.append(new_broker(config))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.close()


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Make names that no other test uses: label queues of two services would be one queue."""

    def name(prefix: str) -> str:
        return f"{prefix}_{uuid4().hex[:8]}"

    return name


@pytest.fixture
def service(request: pytest.FixtureRequest, unique_name: Callable[[str], str]) -> str:
    """A service name that no other test uses, and that says in the broker's log which test it is."""
    test = re.sub(r"\W+", "_", request.node.name)[:40].strip("_")
    return unique_name(test)


@pytest.fixture
def amqp_channel(broker: Broker) -> Iterator[amqp.Channel]:
    """A plain py-amqp channel to the shared broker, to look at messages and to inject some."""
    with broker.channel() as channel:
        yield channel


@pytest.fixture
def start_proxy() -> Iterator[Callable[[Broker], Proxy]]:
    """Start proxies before a broker, which end with the test."""
    proxies: list[Proxy] = []

    def start(broker: Broker) -> Proxy:
        proxies.append(Proxy(broker.port))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def start_program(request: pytest.FixtureRequest) -> Iterator[StartProgram]:
    """Start Python programs as child processes, which end with the test; what they wrote goes into its report."""
    programs: list[Program] = []

    def start(*arguments: object, env: Mapping[str, str] | None = None) -> Program:
        programs.append(Program(*arguments, env=env))
        return programs[-1]

    yield start
    for program in programs:
        program.close()
        request.node.add_report_section("teardown", str(program), program.output)


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Reading:
    """The page whose code blocks the test executes, all of them: `@pytest.mark.page("docs/tls.md")`.

    A page that several tests share has its headings after it, of which each takes the blocks right below them.
    tests/documentation/test_completeness.py sees to it that every block of every page is in such a test.
    """
    mark = request.node.get_closest_marker("page")
    assert mark is not None, "a test that executes a page says which: @pytest.mark.page(path, *headings)"
    return Reading(*mark.args)


def pytest_configure() -> None:
    """Take Ctrl-C as it comes: a shell that runs the tests in the background lets them and their children ignore it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Fail a test that has left a block of its page."""
    result = yield
    page = pyfuncitem.funcargs.get("page")
    if isinstance(page, Reading):
        page.assert_all_taken()
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick tests first: unit, then the rest as collected."""
    items.sort(key=lambda item: "/unit/" not in item.path.as_posix())
