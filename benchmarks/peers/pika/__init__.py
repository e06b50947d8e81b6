"""The same calls written by hand on pika's SelectConnection, in callbacks."""
