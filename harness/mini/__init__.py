"""The built-in world: scenes, the writers of its data sets in official formats, its models."""
