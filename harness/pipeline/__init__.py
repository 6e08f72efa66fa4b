"""Requests, workspaces, and the stages up to the records; what is made of these is `results`."""
