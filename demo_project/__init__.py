"""A small site that works: one chat hub, Django admin, and nothing to install beside it."""
