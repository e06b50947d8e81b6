"""Handlers of the alias "billing"."""

from amphora.contrib.django import servers


@servers["billing"].add_function("invoices.number")
def invoice_number(order_id):
    """Return the number of an order's invoice."""
    return f"INV-{order_id:05}"
