"""Synthetic images on disk: shards, index, reading, failures, export; not how they are made."""
