"""One run: epochs, evaluation, checkpoints; which runs are needed is decided in `pipeline`."""
