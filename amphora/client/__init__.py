"""Clients: what a caller has, from the call of a function to its reply."""
