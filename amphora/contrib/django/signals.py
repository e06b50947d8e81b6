"""Signals around each request that a server of this process runs, as Django has them around an HTTP request.

Both come in the request's greenlet, with the stand-in of the server as ``sender`` (``servers["billing"]``).
"""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["request_finished", "request_started"]

#: Before the remote function and other middleware. Sends ``request`` (`amphora.CurrentRequest`). What a receiver
#: raises fails the request.
request_started = Signal()

#: After them. Sends ``request``, and ``error``: what was raised, or None. What a receiver raises is logged.
request_finished = Signal()
