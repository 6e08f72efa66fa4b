"""Jobs that actors of a cluster do in tests; they import nothing else of the tests."""

import os
import signal


def refuse(job: int) -> int:
    """All but 3."""
    if job == 3:
        raise ValueError("not 3")
    return job


def die(job: int) -> int:
    """Kills its worker."""
    os.kill(os.getpid(), signal.SIGKILL)
    return job
