"""Training of the built-in models; no other package imports it."""
