"""Microsoft's own .NET clients, and recordings of their servers, pointed at the peer site."""
