"""Handlers of the default alias."""

from amphora.contrib.django import server


@server.add_function
def add(x, y):
    """Add two numbers."""
    return x + y


@server.add_function("orders.total")
def total(order_id):
    """Return the total of an order."""
    return {"order": order_id, "total": order_id * 10}


@server.add_function("orders.fail")
def fail(text):
    """Raise a ValueError with that text."""
    raise ValueError(text)
