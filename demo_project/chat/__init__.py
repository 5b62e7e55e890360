"""The chat of the demo site."""
