"""The benchmark: this project's hub beside raw ASGI, Channels, aiosignalr and .NET, as ratios within one run."""
