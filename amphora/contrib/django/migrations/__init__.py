"""Migrations of the app ``amphora``."""
