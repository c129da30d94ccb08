"""The package's front: its names, and who may open what."""

from pathlib import Path

import pytest

import cuvee
from cuvee import checkpoint


@pytest.mark.parametrize("name", checkpoint.__all__)
def test_every_public_name_is_there_and_explained(name):
    assert getattr(checkpoint, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        checkpoint.no_such_name  # noqa: B018


def test_one_file_alone_speaks_to_the_hub():
    package = Path(cuvee.__file__).parent
    found = [
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if "huggingface_hub" in _imports(path)
    ]
    assert found == ["checkpoint/hub.py"]


def _imports(path):
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {words[1].split(".")[0] for words in lines if len(words) > 1 and words[0] in ("import", "from")}
