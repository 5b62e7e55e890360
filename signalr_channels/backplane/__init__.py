"""Lifetime managers over a Channels channel layer: several server processes, one hub."""
