"""Servers: what runs functions, from a request to its reply."""
