"""What is told of runs while they last: epochs, lines with headline numbers, the order of steps."""

import time
from types import SimpleNamespace

import pytest

from harness.api import steps
from harness.core import registry
from harness.core.attempts import Unfinished
from harness.pipeline import run_progress
from harness.pipeline.request import Choices, resolve
from harness.pipeline.run_progress import RunProgress, begin, counter, headline, line
from harness.pipeline.workspace import Workspace


def job(folder, method, seed, home):
    from harness.methods.compose import compose

    workspace = Workspace("cifar100-lt", "smoke", home)
    folder.mkdir()
    spec = SimpleNamespace(method=method, imbalance=100, seed=seed, recipe=workspace.recipe)
    start = "CE" if "+" in method else None
    return SimpleNamespace(
        folder=folder, spec=spec, start=start, name=method, method=lambda: compose(method)
    )


def test_epochs_of_workers_are_counted_and_runs_that_end_have_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_progress, "EVERY_S", 0.02)
    jobs = [job(tmp_path / f"run{seed}", "CE", seed, tmp_path) for seed in (0, 1)]
    of_one = run_progress.epochs(jobs[0])
    assert of_one == jobs[0].spec.recipe.scratch.epochs
    begin(jobs[0].folder, "this")
    with RunProgress(jobs, shown=True, command="this") as progress:
        assert progress.bar.total == 2 * of_one
        counter(jobs[0].folder)({"phase": "all", "epoch": 0, "epochs": of_one, "loss": 1.0})
        time.sleep(0.5)
        assert progress.bar.n == 1
        progress.end(jobs[0], {"Few": None, "Overall": 0.25})
        assert progress.bar.n == of_one
        assert not (jobs[0].folder / run_progress.COUNT).exists()
        progress.end(jobs[1], {"Few": 0.1, "Overall": 0.35})
        assert progress.bar.n == 2 * of_one
    text = capsys.readouterr().err
    assert "CE IR100: Few –, Overall 25.0 (seed 0)\n" in text
    assert "CE IR100: Few 10.0, Overall 30.0 (mean of seeds 0, 1)\n" in text
    assert "left" in text  # an estimate for all runs


def test_onward_runs_have_their_own_epochs(tmp_path):
    recipe = Workspace("cifar100-lt", "smoke", tmp_path).recipe
    control = job(tmp_path / "a", "CE+DisCL", 0, tmp_path)
    assert run_progress.epochs(control) == recipe.onward.epochs
    assert run_progress.epochs(job(tmp_path / "b", "CE+WE", 0, tmp_path)) == 1


@pytest.mark.parametrize(
    ("dataset", "scores", "text"),
    [
        (
            "imagenet-lt",
            {"overall": 0.5, "rules": {"A": {"many": 0.75, "medium": 0.5, "few": 0.25}}},
            "FLYP: Many 75.0, Medium 50.0, Few 25.0, Overall 50.0 (seed 3)",
        ),
        (
            "iwildcam",
            {name: {"macro_f1": 0.5} for name in ("ood", "id", "ood_val", "id_val")},
            "FLYP: OOD 50.0, ID 50.0 (seed 3)",
        ),
    ],
)
def test_a_line_has_the_columns_of_the_leaderboard(dataset, scores, text):
    numbers = headline(registry.find("harness.datasets", dataset), scores)
    assert line("FLYP", None, {3: numbers}) == text


def test_rows_without_synthetic_images_come_first(tmp_path, monkeypatch):
    calls = []
    for name in ("index", "hard", "generate", "score"):
        monkeypatch.setitem(steps.ALL, name, lambda request, name=name: calls.append(name))
    monkeypatch.setattr(steps, "train", lambda requests, *_: calls.append(requests[0].rows))
    rows = ("CE", "BS(control=True)", "CE+DisCL", "CE+DisCL+WE")
    request = resolve(Choices("imagenet-lt", rows, home=tmp_path), methods=True)
    list(steps.run(request))
    assert calls == ["index", "hard", rows[:2], "generate", "score", rows]
    calls.clear()
    list(steps.run(resolve(Choices("imagenet-lt", rows[2:], home=tmp_path), methods=True)))
    assert calls == ["index", "hard", "generate", "score", rows[2:]]
    calls.clear()
    list(steps.run(resolve(Choices("imagenet-lt", rows[:1], home=tmp_path), methods=True)))
    assert calls == ["index", rows[:1]]


def test_a_run_that_fails_early_does_not_stop_the_stages_after_it(tmp_path, monkeypatch):
    calls = []
    for name in ("index", "hard", "generate", "score"):
        monkeypatch.setitem(steps.ALL, name, lambda request, name=name: calls.append(name))

    def train(requests, failed=None):
        calls.append((requests[0].rows, failed))
        raise Unfinished("train", ["1 failed"], {"key": "why"})

    monkeypatch.setattr(steps, "train", train)
    rows = ("CE", "CE+DisCL")
    request = resolve(Choices("imagenet-lt", rows, home=tmp_path), methods=True)
    with pytest.raises(Unfinished, match="1 failed"):
        list(steps.run(request))
    tried = [(rows[:1], None), (rows, {"key": "why"})]
    assert calls == ["index", "hard", tried[0], "generate", "score", tried[1]]
