"""The functions and objects of `import harness`; they print nothing, which is up to `cli`."""

from harness.api.functions import compare, compose, plan, table, train
from harness.api.pools import open_pool

__all__ = ["compare", "compose", "open_pool", "plan", "table", "train"]
