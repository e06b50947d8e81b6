"""Views that call."""

from django.http import HttpRequest, JsonResponse

from amphora.contrib.django import client


def order(request: HttpRequest, item: str) -> JsonResponse:
    """Have an item packed."""
    return JsonResponse({"tasks": client.call.order(item)})
