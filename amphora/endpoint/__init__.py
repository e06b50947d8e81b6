"""What clients and servers share: start and stop, the queues of a service, health, dead letters."""
