"""Expressions, slots of terms, curricula and sampling; the terms themselves are `baselines`."""
