"""One data set at one scale: its workspace, its recipe, and the stages up to the records."""
