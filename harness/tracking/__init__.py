"""Trackers: what users look at while runs last (DVCLive, TensorBoard, W&B, JSON lines).

Nothing here knows of runs or stages; harness.pipeline.run_tracking says what is tracked of them.
"""
