"""Plans and costs of runs, checks of the installation, profiles; nothing here trains a run."""
