"""Databases behind functions that are not served by `runserver_rpc`."""
