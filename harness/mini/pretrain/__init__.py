"""How the small foundation models that ship with the package were made, to be repeated."""
