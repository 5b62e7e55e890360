"""Named tables of messages and their bytes, one module per hub protocol."""
