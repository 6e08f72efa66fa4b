"""Training of the built-in models; uses everything and is used by nothing."""
