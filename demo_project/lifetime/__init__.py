"""A page that shows the life of a classic connection: what the client tells its page, and what the server tells its hub."""
