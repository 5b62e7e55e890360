"""ASP.NET Core SignalR on the wire."""
