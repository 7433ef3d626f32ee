"""Every attack comes to a clear error or to no harm: a sample of the trials here, all of them in
the slow tests.
"""

import pytest

from .attack import Attack, attacks, count

every_attack = pytest.mark.parametrize("attack", attacks(), ids=lambda attack: attack.name)


@every_attack
def test_no_trial_of_the_sample_is_silent_or_ends_in_a_traceback(attack: Attack, tmp_path):
    _, defects = count(attack, attack.in_ci, tmp_path)
    assert not defects


@pytest.mark.slow
@every_attack
def test_no_trial_is_silent_or_ends_in_a_traceback(attack: Attack, tmp_path):
    _, defects = count(attack, range(attack.trials), tmp_path)
    assert not defects
