"""Generation and scoring of synthetic images; storing them is `pool`."""
