"""A database in memory whose connections close."""
