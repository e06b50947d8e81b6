"""What the tests need: brokers, a proxy that breaks connections, child processes, waiting."""
