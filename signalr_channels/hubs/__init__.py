"""What application authors meet: hubs, their methods, clients and groups."""
