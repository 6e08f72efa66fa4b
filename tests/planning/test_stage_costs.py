"""Stages on given machines: by hand, and what limits them."""

from dataclasses import replace

import pytest

from harness.core.errors import UsageError
from harness.pipeline.workspace import Workspace
from harness.planning import plan as plans
from harness.planning.hardware import Hardware, hardware
from harness.planning.stage_costs import CHAIN, LIST_S, PROCESS_GIB
from harness.planning.unit_costs import UnitCosts, name_of, shipped

UNITS = UnitCosts(
    "as this test says", start_s=10, light_s=1, run_s=2, view_s=0.01, test_view_s=0.005,
    pool_view_s=0.02, store_s=0.003, score_view_s=0.004,
)  # fmt: skip
CPU = replace(
    UNITS, train_s={"CrossEntropy": 0.002, "BalancedSoftmax": 0.003}, forward_s=0.001, step_s=0.1,
    image_s=0.2, source_s=0.3, score_s=0.05, draw_s=0.01,
)  # fmt: skip


def stages(workspace, rows, machines, units=UNITS, **options):
    plan = plans.plan(workspace, rows, machines=machines, units=units, **options)
    return plan, {stage.name: stage for stage in plan.stages}


@pytest.fixture
def imagenet(tmp_path):
    return Workspace("imagenet-lt", "paper", tmp_path)


def test_hours_on_cards_by_hand(imagenet):
    machines = Hardware(8, 64, read_mb_s=500)
    plan, found = stages(imagenet, ["CE+DisCL"], machines, seeds=[0, 1], tflops=400)
    ce, discl = (run for run in plan.runs)
    train = found["train"]
    assert train.gpu_h == pytest.approx(2 * (ce.pflop + discl.pflop) / 0.4 / 3600)
    # CE reads real pictures; DisCL synthetic ones too, whose view is the dearer
    seconds = 115_846 * 100 * 0.01 + 39_652 * 65 * 0.02 + 70_000 * 165 * 0.005 + 2 * 2
    assert train.cpu_h == pytest.approx((2 * seconds + 4 * 10) / 3600)  # four runs, so processes
    assert (train.limit, train.wall_h) == ("CPU", pytest.approx(train.cpu_h / 64))
    generate = found["generate"]
    assert generate.gpu_h == pytest.approx((plan.generation_pflop - 52.576 * 0.0088) / 0.4 / 3600)
    assert generate.cpu_h == pytest.approx((52_576 * 0.003 + 1643 * 0.01 + 8 * 10) / 3600)
    assert (generate.limit, generate.wall_h) == ("GPU", pytest.approx(generate.gpu_h / 8))
    assert found["score"].cpu_h == pytest.approx(((52_576 + 1643) * 0.004 + 8 * 10) / 3600)
    assert found["index"].cpu_h == pytest.approx((1 + 185_846 * LIST_S) / 3600)


def test_one_run_after_the_other_limits_many_cards(imagenet):
    fast = replace(UNITS, view_s=1e-6, test_view_s=1e-6, pool_view_s=1e-6)
    plan, found = stages(imagenet, ["CE+DisCL"], Hardware(64, 4096), fast, seeds=[0], tflops=50)
    assert found["train"].limit == CHAIN
    hours = sum(plan.gpu_h(run.pflop, True) for run in plan.runs)  # CE, then CE+DisCL
    assert found["train"].wall_h == pytest.approx(hours)


def test_a_slow_disk_and_a_small_memory_limit(imagenet):
    machines = Hardware(8, 10_000, memory_gib=16, read_mb_s=100)
    _, found = stages(imagenet, ["CE"], machines, seeds=[0], tflops=400)
    assert found["train"].limit == "disk"
    assert found["train"].read_gb == pytest.approx((115_846 + 70_000) * 100 * 115e3 / 1e9)
    assert found["train"].wall_h == pytest.approx(found["train"].read_gb * 10 / 3600)
    roomy = stages(imagenet, ["CE"], replace(machines, memory_gib=64), seeds=[0])[1]
    assert roomy["train"].read_gb == pytest.approx(185_846 * 115e3 / 1e9)


def test_seconds_on_cores_by_hand(tmp_path):
    workspace = Workspace("cifar100-lt", "smoke", tmp_path)
    plan, found = stages(workspace, ["CE+DisCL"], Hardware(0, 2), CPU)
    images, steps = 3 * 219, 219 * (6 + 5 + 4)
    seconds = steps * 0.1 + images * 0.2 + 219 * 0.3
    assert found["generate"].cpu_h == pytest.approx((seconds + 2 * 10) / 3600)
    assert found["generate"].wall_h == pytest.approx(found["generate"].cpu_h / 2)
    assert found["generate"].gpu_gib is None
    assert found["index"].cpu_h == pytest.approx((1 + 18_000 * 0.01 + 8614 * LIST_S) / 3600)
    passes = [run.passes for run in plan.runs]
    seconds = sum(p.trained * 0.002 + p.forward * 0.001 + 2 for p in passes)
    assert found["train"].cpu_h == pytest.approx((seconds + 2 * 10) / 3600)
    (tmp_path / "data" / "smoke" / "cifar100-lt").mkdir(parents=True)
    again = stages(workspace, ["CE+DisCL"], Hardware(0, 2), CPU)[1]
    assert again["index"].cpu_h == pytest.approx((1 + 8614 * LIST_S) / 3600)


def test_what_nobody_knows_is_not_made_up(imagenet):
    unknown = UnitCosts("nobody")
    _, found = stages(imagenet, ["CE+DisCL"], Hardware(1, 16), unknown)
    assert (found["train"].cpu_h, found["train"].wall_h) == (None, None)
    assert found["train"].gpu_h > 0
    other = Workspace("imagenet-lt", "paper", imagenet.home, settings=(("generator", "some/one"),))
    _, found = stages(other, ["CE+DisCL"], Hardware(1, 16))
    assert (found["generate"].gpu_h, found["generate"].wall_h) == (None, None)


def test_a_machine_with_too_little_memory_is_told_what_to_set(tmp_path):
    workspace = Workspace("cifar100-lt", "smoke", tmp_path)
    _, found = stages(workspace, ["CE+DisCL"], Hardware(0, 16, memory_gib=5), CPU)
    assert found["generate"].host_gib == pytest.approx(16 * PROCESS_GIB)
    assert "--workers 4 fits" in found["generate"].advice[0]


def test_what_is_the_same_for_all_seeds_is_counted_once(tmp_path):
    workspace = Workspace("iwildcam", "paper", tmp_path)
    one, three = (
        plans.plan(workspace, ["Zero-shot", "Zero-shot+WE"], seeds=seeds).training_pflop
        for seeds in ([0], [0, 1, 2])
    )
    assert one == three > 0
    flyp = [plans.plan(workspace, ["FLYP"], seeds=seeds).training_pflop for seeds in ([0], [0, 1])]
    assert flyp[1] == pytest.approx(2 * flyp[0])


# ---------------------------------------------------------------- machines and shipped costs


def test_machines_by_default(tmp_path):
    paper = hardware(Workspace("imagenet-lt", "paper", tmp_path))
    assert (paper.gpus, paper.cores, paper.named) == (1, 16, False)
    assert hardware(Workspace("imagenet-lt", "paper", tmp_path), gpus=8).cores == 128
    assert hardware(Workspace("imagenet-lt", "mini", tmp_path)).gpus == 0
    assert str(paper).startswith("1 GPU of 74.5 GiB, 16 cores")


@pytest.mark.parametrize(
    "wrong", [{"gpus": -1}, {"cores": 0}, {"gpu_gib": 0.0}, {"memory": float("nan")}]
)
def test_machines_that_there_are_not(tmp_path, wrong):
    with pytest.raises(UsageError, match="is not allowed; a "):
        hardware(Workspace("imagenet-lt", "paper", tmp_path), **wrong)


def test_every_recipe_has_shipped_costs(tmp_path):
    from harness.planning.calibration import workspaces

    for workspace in workspaces():
        costs = shipped(workspace)
        assert costs.view_s is not None, name_of(workspace)
        assert (costs.forward_s is None) == (workspace.profile == "paper"), name_of(workspace)


def test_another_network_has_costs_of_its_own(tmp_path):
    own = shipped(Workspace("cifar100-lt", "mini", tmp_path))
    deeper = shipped(Workspace("cifar100-lt", "mini", tmp_path, backbone="resnet34"))
    assert deeper.forward_s > own.forward_s
    assert deeper.trained_s("CrossEntropy") > own.trained_s("CrossEntropy")
    views = (
        shipped(Workspace("cifar100-lt", "paper", tmp_path, backbone=backbone))
        for backbone in (None, "resnet34")
    )
    assert len({costs.view_s for costs in views}) == 1
