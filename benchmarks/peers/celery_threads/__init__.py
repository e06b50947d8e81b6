"""Celery with `-P threads`: the same application and client as the peer `celery`."""
