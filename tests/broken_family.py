"""A family from outside, of which `test_own_family.py` breaks one answer after the other."""

from disthead.families.logistic import Logistic, LogisticFamily


class Broken(Logistic):
    """A logistic distribution."""


class BrokenFamily(LogisticFamily):
    name = "broken"

    def make(self, loc, scale, **logarithms):
        return Broken(loc, scale)
