"""The `amphora` command: one module a command, run by `amphora_command`."""
