"""Network architectures and image-text models; training them is `training`."""
