"""What an integration has in place of clients and servers: each is made from settings when it is first used."""
