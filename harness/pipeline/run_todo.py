"""Which runs are to be trained, and what those that are trained lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.core.attempts import Unfinished
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

    def __init__(self, jobs: Sequence[Job], failed: Mapping[str, str] | None = None) -> None:
        """failed: reasons by the key of a run that is not to be tried now."""
        self.all, self.ended, self.failed = jobs, set[str](), dict(failed or {})
        self.damaged: set[str] = set()
        self.sound: set[str] = set()  # whose weights are what was written

    def complete(self) -> None:
        """Write what runs that are trained lack: the record, and the digests of their files.

        What only a run that is not done has goes: it was left where the record could not be kept.
        """
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
            for name in run_files.OF_UNFINISHED:
                (job.folder / name).unlink(missing_ok=True)

    def jobs(self) -> list[Job]:
        """Those not trained, nor those that a job to be trained needs and whose weights are bad."""
        while True:
            left = [job for job in self.all if not self._trained(job)]
            if not [n for job in left for n in job.needs if not self._sound(n)]:
                return left

    def wave(self) -> list[Job]:
        """Jobs that can be trained now; not those that failed, nor those that need one of them."""
        return [
            job
            for job in self.jobs()
            if key(job.spec) not in self.failed and all(self._trained(n) for n in job.needs)
        ]

    def unfinished(self) -> Unfinished | None:
        """What failed, why, and which runs wait for it; None where all is done."""
        left = self.jobs()
        if not left:
            return None
        names = {key(job.spec) for job in left}
        failed = [job for job in left if key(job.spec) in self.failed]
        waiting = [job for job in left if key(job.spec) not in self.failed]
        counts = f"{len(self.all) - len(left)} of {len(self.all)} runs are there"
        lines = [f"train: {counts}, {len(failed)} failed, {len(waiting)} wait for those"]
        lines += [f"  {job.name} failed: {self.failed[key(job.spec)]}" for job in failed]
        for job in waiting:
            needs = ", ".join(need.name for need in job.needs if key(need.spec) in names)
            lines.append(f"  {job.name} skipped: it needs {needs}")
        lines += [f"{job.folder / run_files.FAILED} has the traceback" for job in failed[:1]]
        lines.append("the same command tries again what failed, and does what waits for it")
        return Unfinished("train", lines, self.failed)

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
