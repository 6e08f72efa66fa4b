"""ALIA: edits of the training images by language, filtered (Dunlap et al. 2023, arXiv 2305.16289).

Steps 3 and 4 of the method: images made at one strength from prompts that describe the data set's
settings; dropped when CLIP takes them for something else than a picture of the domain, and when a
classifier trained without them is surer of them than of the real images of their class. One edit
per source is kept and added to the real images.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any

from harness.core.errors import DataError
from harness.methods.arguments import Later, Range
from harness.methods.sampling import CONTROL_OF_IMAGES, sources
from harness.methods.terms import Augment, Progress, TermParts

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

NAME = "ALIA"
ROWS = ("FLYP+ALIA", "FLYP+ALIA(control=True)")

log = logging.getLogger("harness")


class Edits(Augment):
    """Adds the edits that pass both filters, one per source, to every epoch.

    margin: lowest lead of the domain's text over the other texts in CLIP similarity. control: the
    sources of these edits instead.
    """

    def __init__(self, margin: float, confidence: bool, control: bool) -> None:
        self.margin, self.confidence, self.control = margin, confidence, control

    def start(self, model: Any, tools: Any) -> None:
        if tools.data.pool is None:
            raise DataError("ALIA needs edited images, and this data set has no pool of them yet")

    def rows(self, rows: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        assert progress.tools is not None
        pool = progress.tools.data.pool
        if "edits" not in progress.state:
            progress.state["edits"] = self._chosen(rows, pool, progress)
        edits = pool.filter(np.isin(pool["image"].to_numpy(), progress.state["edits"]))
        return pl.concat([rows, sources(edits) if self.control else edits])

    def _chosen(self, rows: pl.DataFrame, pool: pl.DataFrame, progress: Progress) -> list[int]:
        """Numbers of the images kept, ascending; none where the classifier is surer of all.

        DataError where CLIP's filter, which no training decides, leaves none.
        """
        assert progress.tools is not None
        edits = pool.filter(pool["score"] > self.margin)
        if not edits.height:
            raise DataError(
                f"ALIA: none of {pool.height} edited images leads the other texts by more than "
                f"margin={self.margin:g}"
            )
        if self.confidence:
            real, edited = progress.tools.consult(rows), progress.tools.consult(edits)
            labels = edits["label"].to_numpy()
            edits = edits.filter(not_surer(real, rows["label"].to_numpy(), edited, labels))
            if not edits.height:
                log.warning(
                    "ALIA: the classifier is surer of all %s edited images than of real ones: this "
                    "run trains on the real images alone",
                    f"{len(labels):,}",
                )
        shuffled = edits[progress.rng.permutation(edits.height)]
        one = shuffled.unique("parent", keep="first", maintain_order=True)
        return sorted(one["image"].to_list())


def not_surer(
    real: np.ndarray, real_labels: np.ndarray, edited: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Which edits have no class probability above t_c, c being the class they were made for.

    real (N, C) and edited (M, C): class probabilities; t_c: mean probability of class c over the
    real images of class c, 1 for a class without any. Returns (M,) booleans.
    """
    import numpy as np

    classes = real.shape[1]
    n = np.bincount(real_labels, minlength=classes)
    of_label = np.bincount(real_labels, real[np.arange(len(real)), real_labels], classes)
    t = np.where(n > 0, of_label / np.maximum(n, 1), 1.0)
    return np.asarray(edited.max(1) <= t[labels])


def term(
    *,
    margin: Annotated[float, Range(-1, 1), "lowest lead of the domain's text in CLIP score"] = 0.0,
    confidence: Annotated[bool, "whether the classifier filters, too"] = True,
    control: Annotated[bool, Later, CONTROL_OF_IMAGES] = False,
) -> TermParts:
    """Edits, filtered; with `confidence` it consults the run without this term."""
    edits = Edits(margin, confidence, control)
    return TermParts(augment=edits, reads="edits", consults=confidence or None)
