"""How much of the machine a container may use."""

import pytest

from harness.core import machine, parallel


@pytest.mark.parametrize(
    ("files", "membership", "cores"),
    [
        ({}, "0::/\n", None),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"cpu.max": "200000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "1000 100000\n"}, "0::/\n", 1),
        ({"cpu.max": "nonsense"}, "0::/\n", None),
        ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "400000 100000"}, "0::/a/b\n", 1),
        ({"cpu.max": "300000 100000"}, "0::/named/by/the/host\n", 3),
        (
            {"cpu,cpuacct/cpu.cfs_quota_us": "50000", "cpu,cpuacct/cpu.cfs_period_us": "10000"},
            "4:memory:/\n3:cpu,cpuacct:/docker/0123\n",
            5,
        ),
        ({"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, "1:cpu:/x\n", None),
    ],
)
def test_quota(tmp_path, files, membership, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.cpu_quota(tmp_path, membership) == cores


def test_workers_by_default(monkeypatch):
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for quota, cores in ((None, 4), (2, 2), (64, 4)):
        monkeypatch.setattr(parallel, "cpu_quota", lambda quota=quota: quota)
        assert parallel.cores() == cores
