"""Clients for programs that gevent does not patch."""
