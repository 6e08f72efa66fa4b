"""Data sets, one file each, with images and prompts; writing the built-in ones is `mini`."""
