"""The atlas of losses: an entry for every objective, whole sentences, names that exist."""

from disthead import objectives
from disthead.atlas import losses


def test_every_objective_is_described():
    assert set(objectives.names()) - set(losses()) == set()
