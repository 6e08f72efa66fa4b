"""One run: epochs, augmentation, evaluation, checkpoints; which runs there are is `pipeline`."""
