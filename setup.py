"""What pyproject.toml cannot say: files outside the packages that go into a wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = ("results/paper", "results/reference", "params.yaml")
GOLDEN = "results/golden"  # where golden numbers have been written


class BuildWithResults(build_py):
    """Copies published tables, reference results, golden numbers and params into the package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # a checkout has them where they are
            return
        target = Path(self.build_lib, "harness", "shipped")
        shutil.rmtree(target, ignore_errors=True)
        for name in (*SHIPPED, *([GOLDEN] if (ROOT / GOLDEN).is_dir() else [])):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, target / name)


setup(cmdclass={"build_py": BuildWithResults})
