"""One live connection, whatever carries it. asyncio, nothing of Django or Channels."""
