"""The protocol: what requests and replies are, without any I/O."""
