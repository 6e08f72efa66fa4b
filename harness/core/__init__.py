"""Errors, hashed specs, guidance levels, the registry of names, reading files, workers, metrics."""
