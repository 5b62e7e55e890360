"""Applications to compare with: each is given to uvicorn by its module name."""
