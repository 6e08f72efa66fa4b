"""The terms of expressions, one file each, found by name; what a term is: `harness.methods`."""
