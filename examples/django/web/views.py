"""The pages, and what the page's script asks for."""

import json
import os
import re
from functools import wraps
from time import monotonic
from uuid import UUID

from django.http import HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from amphora import AmqpRpcException, NoResult
from amphora.contrib.django import client
from web.rpc import wait_for_messages

#: Seconds that a poll is held while nothing happens.
POLL_TIMEOUT = float(os.environ.get("CHAT_POLL_TIMEOUT", 25))
NAME = re.compile(r"\w{1,20}")
TAB = re.compile(r"\w{1,32}")


def for_users(view):
    """Pass the user's name to a view; refuse a user without one."""

    @wraps(view)
    def checked(request, **arguments):
        name = request.session.get("name")
        if name is None:
            return JsonResponse({"error": "Enter a name first."}, status=403)
        if "tab" in arguments:
            tab = arguments.pop("tab")
            if not TAB.fullmatch(tab):
                return HttpResponseBadRequest("not a tab")
            # A screen belongs to its user: no other user can poll for it.
            arguments["label"] = f"{name}.{tab}"
        return view(request, name=name, **arguments)

    return checked


@require_safe
@ensure_csrf_cookie
def index(request):
    """Show the chat, or first ask for a name."""
    name = request.session.get("name")
    return render(request, "web/enter.html" if name is None else "web/chat.html", {"name": name, "process": process()})


@require_POST
def enter(request):
    """Take the user's word for the name: this is a demonstration."""
    name = request.POST.get("name", "").strip()
    if not NAME.fullmatch(name):
        context = {"wrong": "A name has up to twenty letters and digits.", "process": process()}
        return render(request, "web/enter.html", context, status=400)
    request.session["name"] = name
    return redirect("/")


@require_POST
def leave(request):
    """Forget the name."""
    request.session.flush()
    return redirect("/")


@require_POST
@for_users
def say(request, name):
    """Send a message to the core; the answer means that it is stored, and will be shown whatever happens."""
    try:
        said = json.loads(request.body)
        key, text, recipient = str(UUID(said["key"])), said["text"].strip(), said["recipient"]
        if not text or len(text) > 1000 or not (recipient == "" or NAME.fullmatch(recipient)):
            raise ValueError("not a message")
    except (ValueError, KeyError, TypeError, AttributeError):
        return HttpResponseBadRequest("not a message")
    try:
        client.defer.say(key, name, text, recipient=recipient)
    except AmqpRpcException as error:
        # The page tries again, with the same key.
        return JsonResponse({"error": str(error)}, status=503)
    return JsonResponse({"process": process()}, status=202)


@require_safe
@for_users
def poll(request, name, label):
    """Hold the request until there is something to show; the first one of a page, with `wait=0`, is answered at once.

    An answer may get lost on its way to the browser: the next poll says how far it has come (`after`), and begins
    with what the core has beyond that.
    """
    try:
        after = int(request.GET["after"])
    except (KeyError, ValueError):
        return HttpResponseBadRequest("after is the id of the last message that was shown")
    news = catch_up(label, name, after)
    deadline = monotonic() + (0 if request.GET.get("wait") == "0" else POLL_TIMEOUT)
    while not news.get("messages") and (remaining := deadline - monotonic()) > 0:
        arrived = wait_for_messages(label, remaining)
        if not arrived:
            break
        news["messages"] = unseen(arrived, after)
        if news["messages"] is None:
            # Something between the two was lost with an earlier answer.
            news = catch_up(label, name, after)
    return JsonResponse({"messages": [], **news, "process": process()})


@require_POST
@for_users
def close(request, name, label):
    """Forget a screen whose page is being closed."""
    client.defer(wait_publish=False).close(label)
    return HttpResponse(status=204)


def catch_up(label, name, after):
    """Ask the core for what a screen has missed; nothing while the core is not there."""
    try:
        return client.call(timeout=5, expires=True).catch_up(label, name, after)
    except NoResult:
        return {}


def unseen(arrived, after):
    """Give the messages of these that come after one, or None if there is a gap."""
    messages = []
    for message, previous in arrived:
        if message["id"] <= after:
            continue
        if previous > after:
            return None
        messages.append(message)
        after = message["id"]
    return messages


def process():
    """Name this process, for people to see where they are."""
    return f"{os.environ.get('CHAT_PROCESS', 'web')} (process {os.getpid()})"
