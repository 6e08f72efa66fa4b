"""What several test files share."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["bounds"]  # tests/builders/bounds.py

# A busy machine is no reason to fail.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def no_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the project shipped no results of its own."""
    from harness.results import store

    monkeypatch.setattr(store, "REFERENCE", tmp_path / "no reference")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of tiny random foundation models: generator and clip."""
    import tiny_models

    return tiny_models.models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random image-text model."""
    import tiny_models

    return tiny_models.scorer(tmp_path_factory.mktemp("clip"))
