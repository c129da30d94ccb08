"""What the tests of whole merges share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.yard import Yard, new_yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """Three small models of one shape, `base`, `a` and `b`, in a folder of their own."""
    return new_yard(tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two workers of one CPU each; gives the address."""
    import ray

    small = {"object_store_memory": 80 * 1024**2, "include_dashboard": False}
    ray.init(address="local", num_cpus=2, log_to_driver=False, logging_level="ERROR", **small)
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()
