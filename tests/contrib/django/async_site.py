"""An async view of a program that gevent has not patched: its calls run side by side."""

import asyncio

import django

django.setup()

from asgiref.sync import sync_to_async  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.test import AsyncRequestFactory  # noqa: E402

from amphora.contrib.django import client  # noqa: E402


async def view(_: HttpRequest) -> JsonResponse:
    """Make two calls, each of which waits for the other."""
    meet = sync_to_async(client.call.meet, thread_sensitive=False)
    return JsonResponse({"met": await asyncio.gather(meet("Alice"), meet("Bob"))})


print(asyncio.run(view(AsyncRequestFactory().get("/"))).content.decode())
