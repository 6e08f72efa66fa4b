"""Errors, hashed specs, the registry of names, atomic files, workers, metrics."""
