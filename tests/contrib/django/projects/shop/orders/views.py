"""Views that call RPC."""

from django.http import JsonResponse

from amphora.contrib.django import client


def total(request, order_id):
    """Ask the service for the total of an order."""
    return JsonResponse(client.call.orders.total(order_id))
