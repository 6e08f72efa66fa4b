"""Errors, hashed specs, the registry, atomic files, workers, metrics; nothing of one data set."""
