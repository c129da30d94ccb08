"""The package's front: its names."""

import pytest

from cuvee import checkpoint


@pytest.mark.parametrize("name", checkpoint.__all__)
def test_every_public_name_is_there_and_explained(name):
    assert getattr(checkpoint, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        checkpoint.no_such_name  # noqa: B018
