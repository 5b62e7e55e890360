"""The classic generation: ASP.NET SignalR 2, on the wire."""
