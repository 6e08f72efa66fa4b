"""Makes synthetic images and scores them; where they are kept is `pool`."""
