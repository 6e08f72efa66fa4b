# %% [markdown]
# # Comparing methods from a notebook
#
# Every cell works as it stands, in Jupyter (jupytext opens this file as a notebook), in an editor
# that knows `# %%` cells, and as a script: `python docs/notebook.py`. It runs the cut-down built-in
# world (profile smoke) in a temporary folder: no data and no GPU are needed.

# %%
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

import harness

# %% tags=["parameters"]
DATASET = "cifar100-lt"
HOME = Path(tempfile.mkdtemp(prefix="harness-"))
OPTIONS: dict[str, Any] = {"profile": "smoke", "home": HOME, "imbalance": [100]}
SEEDS = range(2)

# %% [markdown]
# What would it cost? A plan needs no data and runs nothing.

# %%
plan = harness.plan(DATASET, rows=["CE", "CE+DisCL"], seeds=SEEDS, **OPTIONS)
plan.table()

# %% [markdown]
# A method is an expression: terms joined by `+`, with arguments in parentheses.

# %%
method = harness.compose("CE+DisCL(levels=(0.5,))", DATASET, OPTIONS["profile"])
method.expression, method.reads, method.levels

# %% [markdown]
# Run what is missing. A second call finds everything done and only reads the records.

# %%
result = harness.compare(DATASET, rows=["CE", "CE+DisCL"], seeds=SEEDS, **OPTIONS)
result

# %%
result.table()

# %%
result.runs()

# %% [markdown]
# The difference of two rows, paired over seeds and test images: with its 95 % interval.

# %%
difference = result.difference("CE+DisCL", "CE")
difference.select("column", "difference", "low", "high", "p_corrected")

# %% [markdown]
# The synthetic images with their labels: a map-style dataset, as a PyTorch DataLoader takes it.

# %%
pool = harness.open_pool(DATASET, profile=OPTIONS["profile"], home=HOME)
item = pool[0]
item["image"].shape, item["classname"], item["guidance"], item["prompt"], item["text_score"]

# %%
pool.table.group_by("guidance").agg(pl.len(), pl.col("text_score").mean()).sort("guidance")

# %%
good = pool.where(pl.col("text_score") >= pool.table["text_score"].median())
len(pool), len(good)

# %% [markdown]
# A page with charts and pictures of all that was measured.

# %%
result.report()
