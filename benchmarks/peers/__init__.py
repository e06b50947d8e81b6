"""What is compared: one folder a peer, each with a `server` and a `client` module to run."""
