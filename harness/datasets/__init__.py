"""Data sets: one file each, with what they share: official files, pictures, prompts."""
