"""Why a claim is undecided, in words, and what would decide it."""

from __future__ import annotations

from harness.results.deciding import MOST_SEEDS, POWER, TIMES, Need, Size, need, open_tests
from harness.results.findings import (
    HOLDS,
    IMPOSSIBLE,
    LEVEL,
    NO_RUNS,
    OPEN,
    Comparison,
    Finding,
)


def sentences(finding: Finding, claims: int) -> list[str]:
    """What stands in the way of a verdict, and what would decide; none for a decided claim.

    claims: for which p is corrected.
    """
    if finding.verdict != OPEN:
        return left_out(finding)
    why = _listed([*_without_interval(finding), *_unclear(finding, claims)])
    lines = [f"Undecided because {why}."] if why else []
    takes = need(finding, claims)
    return [*lines, *([_takes(takes, finding.claim.within)] if takes else []), *left_out(finding)]


def left_out(finding: Finding) -> list[str]:
    """Comparisons that this data set cannot make, and that the verdict is therefore not on."""
    tests = [test for test in finding.tests if test.verdict == IMPOSSIBLE]
    if not tests:
        return []
    names = _listed(list(dict.fromkeys(test.column.name for test in tests)))
    whys = _listed(list(dict.fromkeys(test.why for test in tests)))
    return [f"Not part of the verdict: {names}, which this data set cannot have ({whys})."]


def _without_interval(finding: Finding) -> list[str]:
    """Of comparisons that have no runs, or nothing to judge by."""
    tests = [test for test in finding.needed if test.for_claim is None]
    missing = [test for test in tests if test.verdict == NO_RUNS]
    parts = [f"{len(missing)} of {_comparisons(len(finding.needed))} lack runs"] if missing else []
    return parts + list(dict.fromkeys(test.why for test in tests if test not in missing))


def _unclear(finding: Finding, claims: int) -> list[str]:
    """Of measured comparisons that do not show what the claim says."""
    tests, total = open_tests(finding, claims), len(finding.needed)
    within = finding.claim.within
    unclear = [test for test in tests if test.verdict == OPEN]
    clear = [test for test in tests if test.verdict == HOLDS]
    against = [test for test in tests if test not in unclear and test not in clear]
    parts = []
    if unclear:
        s = "s" * (len(unclear) == 1)
        does = f"include{s} zero" if within is None else f"reach{'e' * len(s)}{s} {within:g} points"
        parts.append(f"{_intervals(len(unclear), total)} {does} ({_places(unclear)})")
    for some, one, more in (
        (clear, "holds alone", "hold alone"),
        (against, "is the other way round alone", "are the other way round alone"),
    ):
        if some:
            what = one if len(some) == 1 else more
            correction = f"not at {LEVEL:g} after the correction for {claims} claims"
            count = f"{len(some)} of {_comparisons(total)}"
            parts.append(f"{count} {what} but {correction} ({_places(some)})")
    return parts


def _takes(takes: Need, within: float | None) -> str:
    d = takes.test.difference
    assert d is not None
    seen = f"{100 * d.value:+.2f}"
    outcome = "hold" if takes.verdict == HOLDS else "turn out not to hold"
    if within is not None and takes.verdict == HOLDS:
        outcome = f"hold (equivalence within {within:g} points)"
    amount = size(takes.size)
    return (
        f"If the differences seen were the true ones, it would {outcome} with {amount}: that is "
        f"what {takes.test.says}, {_where(takes.test)}, {seen}, takes for a probability of "
        f"{POWER:.0%}."
    )


def size(size: Size | None) -> str:
    """Seeds and test images in words."""
    if size is None:
        return f"more than {MOST_SEEDS} seeds and {TIMES[-1]} times the test images"
    places = "" if size.locations is None else f" at {size.locations:,} locations"
    return f"{size.seeds} seeds and {size.images:,} test images{places}"


def _places(tests: list[Comparison]) -> str:
    return _listed(list(dict.fromkeys(map(_where, tests))))


def _where(test: Comparison) -> str:
    return f"{test.column.name}, {test.block.title}"


def _intervals(n: int, total: int) -> str:
    if total == 1:
        return "its interval"
    which = f"{n} of {total}" if n < total else "both" if n == 2 else f"all {n}"
    return f"the interval{'s' * (n > 1)} of {which} comparisons"


def _comparisons(n: int) -> str:
    return f"{n} comparison{'s' * (n != 1)}"


def _listed(parts: list[str]) -> str:
    """a; a and b; a, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
