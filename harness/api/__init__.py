"""What `import harness` offers: functions that take names and give results, without printing."""

from harness.api.functions import compare, compose, plan, table, train
from harness.api.pools import open_pool

__all__ = ["compare", "compose", "open_pool", "plan", "table", "train"]
