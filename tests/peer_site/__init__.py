"""A small site with the hubs that Microsoft's clients are pointed at: the contract of the peers, served as a user would serve it."""
