"""Paired comparisons with ties: claims that outsiders check."""

import numpy as np
import pytest
import scipy.optimize
import torch

import disthead as dh
from disthead.errors import TargetError
from disthead.families.bradley_terry import BradleyTerry
from disthead.families.plackett_luce import PlackettLuce


def test_without_ties_it_is_the_ranking_of_two_items():
    scores = torch.tensor([0.8, -0.4], dtype=torch.float64)
    outcome = BradleyTerry(scores, 1e-30)
    ranking = PlackettLuce(scores).log_prob(torch.tensor([[1, 0], [0, 1]]))
    torch.testing.assert_close(outcome.log_prob(torch.tensor([0, 1])), ranking)


def test_the_square_of_the_probability_of_a_tie_is_that_of_a_win_and_a_loss():
    """Davidson's axiom: P(tie) = ties sqrt(P(win) P(loss))."""
    scores = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss, win, tie = BradleyTerry(scores, 0.7).probs.unbind(-1)
    torch.testing.assert_close(tie, 0.7 * (win * loss).sqrt())
    torch.testing.assert_close(win / loss, (scores[:, 0] - scores[:, 1]).exp())


def test_a_league_has_the_maximum_likelihood_of_the_textbook():
    """Scores of teams that are linear in who plays, fitted by this family and from the formula."""
    rng = np.random.default_rng(2)
    home, away = (rng.integers(0, 4, 300) for _ in range(2))
    home, away = home[home != away], away[home != away]
    strength = np.array([0.0, 0.5, -0.7, 1.0])
    worth = np.exp([strength[away], strength[home], 0.5 * (strength[home] + strength[away])])
    probs = worth / worth.sum(0)
    y = (rng.random(len(home)) > probs.cumsum(0)).sum(0)

    def loss(parameters):
        teams, log_ties = np.append(0, parameters[:3]), parameters[3]
        a, b = teams[home], teams[away]
        logits = np.stack([b, a, (a + b) / 2 + log_ties])
        return np.logaddexp.reduce(logits).sum() - logits[y, np.arange(len(y))].sum()

    expected = scipy.optimize.minimize(loss, np.zeros(4), tol=1e-12).fun
    family, y = dh.get_family("bradley_terry"), torch.as_tensor(y)
    teams = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    raw_ties = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([teams, raw_ties], max_iter=200, line_search_fn="strong_wolfe")

    def nll():
        optimizer.zero_grad()
        scores = torch.cat([teams.new_zeros(1), teams])
        raw = torch.stack([scores[home], scores[away], raw_ties.expand(len(y))], -1)
        value = -family.from_raw(raw).log_prob(y).sum()
        value.backward()
        return value

    optimizer.step(nll)
    assert float(nll().detach()) == pytest.approx(expected, abs=1e-5)


def test_other_outcomes_are_refused_by_name():
    with pytest.raises(TargetError, match="a tie"):
        dh.get_family("bradley_terry").check_target(torch.tensor([0, 1, 3]))
