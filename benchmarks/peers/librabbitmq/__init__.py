"""The same calls in C on librabbitmq: the rate that the broker sets."""
