"""A server that calculates, for examples/math_client.py; end it with Ctrl+C.

Start as many as you like: each request goes to one of them. BROKER_URL names the broker.
"""

from gevent import monkey

monkey.patch_all()

import logging
import os
from math import sqrt

from amphora import AmqpRpcServer, run_servers

BROKER_URL = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")

logging.basicConfig(level=logging.INFO, format="%(message)s")
server = AmqpRpcServer("math", broker_url=BROKER_URL)


# The four ways to add a function: a call, with a name or without one, and a decorator, with a name or without one.
def add(x, y):
    return x + y


def subtract(x, y):
    return x - y


server.add_function(add)
server.add_function(subtract, name="sub")


@server.add_function
def sum_numbers(*args):
    return sum(args)


@server.add_function
def hypotenuse(cathetus1, cathetus2):
    return sqrt(cathetus1**2 + cathetus2**2)


@server.add_function("div")
def divide(x, y):
    if x < 0:
        raise ValueError("x", x)
    return x / y


run_servers(server)
