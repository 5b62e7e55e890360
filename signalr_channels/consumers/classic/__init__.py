"""Requests of classic clients."""
