"""The tools agree on the house before anything is built in it."""

import tieline


def test_the_package_has_a_version() -> None:
    assert tieline.__version__
