"""What the commands are called with: a module a command, of which each imports what it needs to run when it runs."""
