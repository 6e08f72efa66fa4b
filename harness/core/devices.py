"""What a run does beside its device, and what the device does for it: defaults by device."""

from __future__ import annotations

import os

from harness.core.errors import UsageError
from harness.core.parallel import cores
from harness.core.specs import Machine

INPUT_WORKERS = "HARNESS_INPUT_WORKERS"
DEVICE_VIEWS = "HARNESS_DEVICE_VIEWS"


def input_workers(machine: Machine) -> int:
    """Processes that prepare the pictures of each run, by the machine's value or a default.

    $HARNESS_INPUT_WORKERS, else none beside a CPU, which the runs themselves fill; beside a GPU the
    cores that the runs of this machine leave, shared out, and one at least. UsageError for a value
    of the variable that is no whole number.
    """
    if machine.input_workers is not None:
        return machine.input_workers
    text = os.environ.get(INPUT_WORKERS, "").strip()
    if text:
        if not text.isdecimal() or len(text) > 4:
            raise UsageError(f"${INPUT_WORKERS} is {text[:60]!r}, expected a whole number from 0")
        return int(text)
    if machine.device == "cpu":
        return 0
    return max(1, cores() // max(1, machine.workers) - 1)


def device_views(machine: Machine) -> bool:
    """Whether the device makes the views: the machine's value, $HARNESS_DEVICE_VIEWS, a GPU does.

    UsageError for a value of the variable other than 0 and 1.
    """
    if machine.device_views is not None:
        return machine.device_views
    text = os.environ.get(DEVICE_VIEWS, "").strip()
    if text not in ("", "0", "1"):
        raise UsageError(f"${DEVICE_VIEWS} is {text[:60]!r}; allowed: 0, 1")
    return machine.device != "cpu" if not text else text == "1"
