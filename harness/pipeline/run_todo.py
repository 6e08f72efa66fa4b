"""Which runs are to be trained, and what those that are trained lack."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.digests import Damaged, remade
from harness.core.errors import DataError
from harness.core.specs import key, plain
from harness.pipeline import run_files
from harness.pipeline.jobs import Job
from harness.pipeline.run_record import record
from harness.results import records


class Todo:
    """Which jobs are to be trained: asked before each wave, for a run may change what others read.

    Files of a run that turn out to be damaged count as not there, and that is told.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.all, self.ended = jobs, set[str]()
        self.damaged: set[str] = set()
        self.sound: set[str] = set()  # whose weights are what was written

    def complete(self) -> None:
        """Write what runs that are trained lack: the record, and the digests of their files."""
        for job in self.all:
            if not job.trained:
                continue
            try:
                if not job.recorded:
                    records.write(record(job), job.workspace.records)
            except Damaged as error:
                self._drop(job, error)
                continue
            done = run_files.read(job.folder)
            if done is not None and done.files is None:
                run_files.write(job.folder, plain(job.spec), job.reads)

    def jobs(self) -> list[Job]:
        """Those not trained, nor those that a job to be trained needs and whose weights are bad."""
        while True:
            left = [job for job in self.all if not self._trained(job)]
            if not [n for job in left for n in job.needs if not self._sound(n)]:
                return left

    def wave(self) -> list[Job]:
        """Jobs that can be trained now."""
        return [job for job in self.jobs() if all(self._trained(need) for need in job.needs)]

    def _trained(self, job: Job) -> bool:
        name = key(job.spec)
        return name in self.ended or (name not in self.damaged and job.trained)

    def _sound(self, job: Job) -> bool:
        name = key(job.spec)
        if job.merges is None and name not in self.sound | self.damaged and self._trained(job):
            try:
                run_files.check(job.folder, run_files.WEIGHTS)
            except Damaged as error:
                self._drop(job, error)
                return False
            self.sound.add(name)
        return True

    def _drop(self, job: Job, error: DataError) -> None:
        remade(error)
        self.damaged.add(key(job.spec))
        (job.folder / run_files.DONE).unlink(missing_ok=True)
