"""The program `orders/rpc.py`, which the pages about the `amphora` command serve."""

#: Its functions are those that docs/cli.md lists; what is ordered can be shipped once there is a file `shippable`.
ORDERS = '''\
from pathlib import Path

from amphora import AmqpRpcServer, IgnoreRequest

server = AmqpRpcServer("orders", delivery_limit=5, ignore_delay=0)


@server.add_function
def add(x, y=1):
    """Add two numbers."""
    return x + y


@server.add_function
def ship(number: int) -> None:
    if not Path("shippable").exists():
        raise IgnoreRequest
'''
