"""Amphora through its public API."""
