import resource
from collections.abc import Iterator

import pytest

from chassis.descriptors import WANTED, connections_within_limit, raise_descriptor_limit

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.fixture(autouse=True)
def soft() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def limited(soft: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, HARD))


@pytest.mark.parametrize(("soft", "connections"), [(1024, 768), (300, 150), (8192, 4096)])
def test_connections_leave_descriptors_for_everything_else(soft: int, connections: int):
    limited(soft)
    assert connections_within_limit(4096) == connections


def test_limit_is_raised_as_far_as_the_hard_one_permits():
    limited(1024)
    raise_descriptor_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert (soft, hard) == (WANTED if HARD == resource.RLIM_INFINITY else min(WANTED, HARD), HARD)


def test_higher_limit_is_left_alone():
    limited(WANTED + 1)
    raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == WANTED + 1
