"""What a run does beside its device, by default and where the environment says otherwise."""

import pytest

from harness.core import devices
from harness.core.errors import UsageError
from harness.core.specs import Machine


@pytest.mark.parametrize(
    ("machine", "cores", "expected"),
    [
        (Machine(), 16, 0),
        (Machine("cuda", workers=1), 16, 15),
        (Machine("cuda", workers=8), 64, 7),
        (Machine("cuda:1", workers=4), 2, 1),
        (Machine("cuda", input_workers=0), 16, 0),
        (Machine(input_workers=3), 16, 3),
    ],
)
def test_input_workers_are_the_cores_that_runs_leave(monkeypatch, machine, cores, expected):
    monkeypatch.setattr(devices, "cores", lambda: cores)
    monkeypatch.delenv(devices.INPUT_WORKERS, raising=False)
    assert devices.input_workers(machine) == expected


def test_the_environment_sets_what_the_machine_leaves_open(monkeypatch):
    monkeypatch.setenv(devices.INPUT_WORKERS, "5")
    assert devices.input_workers(Machine("cuda")) == devices.input_workers(Machine()) == 5
    assert devices.input_workers(Machine(input_workers=1)) == 1
    monkeypatch.setenv(devices.INPUT_WORKERS, "many")
    with pytest.raises(UsageError, match=r"HARNESS_INPUT_WORKERS is 'many', expected a whole"):
        devices.input_workers(Machine())


def test_a_gpu_makes_views_unless_it_is_not_to(monkeypatch):
    monkeypatch.delenv(devices.DEVICE_VIEWS, raising=False)
    assert devices.device_views(Machine("cuda"))
    assert not devices.device_views(Machine())
    assert not devices.device_views(Machine("cuda", device_views=False))
    monkeypatch.setenv(devices.DEVICE_VIEWS, "0")
    assert not devices.device_views(Machine("cuda"))
    monkeypatch.setenv(devices.DEVICE_VIEWS, "yes")
    with pytest.raises(UsageError, match=r"HARNESS_DEVICE_VIEWS is 'yes'; allowed: 0, 1"):
        devices.device_views(Machine())
