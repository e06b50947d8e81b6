"""The chaos run: a service under load while everything around it is broken, and an account of every call."""
