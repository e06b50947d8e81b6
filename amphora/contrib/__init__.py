"""Integrations, each with the public API of Amphora alone."""
