"""Does synthetic data help image classifiers that learn from scarce or poor data?

    import harness
    result = harness.compare("cifar100-lt", rows=["CE", "CE+DisCL"], seeds=range(5))
    result.table()                          # polars, one row per method
    result.difference("CE+DisCL", "CE")
    pool = harness.open_pool("cifar100-lt")   # a labelled map-style dataset

The functions are loaded when they are first used, so that `import harness` costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import compare, compose, open_pool, plan, table, train

__all__ = ["__version__", "compare", "compose", "open_pool", "plan", "table", "train"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("discl-harness")
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
