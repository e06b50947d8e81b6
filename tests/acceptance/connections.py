"""The AMQP connections of a service's endpoints as the broker sees them."""

from tests.support.broker import Broker, ConnectionInfo
from tests.support.eventually import wait_until


def connections_of(broker: Broker, name: str) -> dict[str, ConnectionInfo]:
    """Return the connections whose names begin so (a service, and perhaps its endpoint), by the broker's process."""
    return {
        connection.pid: connection
        for connection in broker.connections()
        if connection.client_properties.get("connection_name", "").startswith(f"{name} ")
    }


def kill_connection(broker: Broker, name: str) -> None:
    """Kill the broker's end of the one connection whose name begins so, as soon as there is one.

    Its process dies with its socket: there is no farewell, and what it had not yet read is gone.
    """
    pid = next(iter(wait_until(lambda: connections_of(broker, name), message=f"a connection {name!r}")))
    broker.eval(f'exit(list_to_pid("{pid}"), kill)')
    wait_until(lambda: pid not in connections_of(broker, name), message=f"{name!r} is gone")
