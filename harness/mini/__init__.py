"""The built-in world: scenes, data set writers, small models; their training is `pretrain`."""
