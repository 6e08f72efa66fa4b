"""Synthetic images on disk: shards, index, reading, export; making them is `generation`."""
