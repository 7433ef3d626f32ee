"""Divergences between two predicted distributions."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="kl",
        kind="divergence",
        synonyms=(
            "Kullback-Leibler divergence",
            "relative entropy",
            "forward kl",
            "KL divergence",
            "kl_div",
            "KLDivLoss",
            "distillation",
        ),
        assumption="The first distribution p, such as a teacher's or a posterior, is what the "
        "second one q has to describe. Drawing targets from p without end and training q by nll on "
        "them is the same.",
        formula="KL(p, q) = E_p[log p(Y) - log q(Y)], the cross-entropy of q less the entropy of p",
        family="Any two over the same targets; a closed form within most families, a sum or a "
        "quadrature elsewhere.",
        estimated="The member of q's family with the best expected likelihood under p: of a normal "
        "distribution, the mean and the variance of p.",
        gradient="That of nll, averaged over targets drawn from p, so that it has no noise of "
        "sampling.",
        robustness="A q whose tails are lighter than those of p pays for the tails first: it "
        "becomes wide.",
        calibration="q is as calibrated as p where its family holds p; else it covers every peak "
        "of p, rather too wide than too narrow.",
        breaks="It is infinite where q excludes what p allows, and where the tails of p are too "
        "heavy for q.",
        remedy="A family for q with heavier tails, such as student_t, or jensen_shannon, which is "
        "never infinite.",
        pytorch="torch.distributions.kl_divergence(p, q)",
        source="Kullback and Leibler 1951; Hinton, Vinyals and Dean 2015 (distillation)",
    ),
    Loss(
        name="reverse_kl",
        kind="divergence",
        synonyms=("reverse Kullback-Leibler divergence", "exclusive kl"),
        assumption="q may keep to a part of p, but may not claim what p holds for unlikely.",
        formula="KL(q, p) = E_q[log q(Y) - log p(Y)]",
        family="As kl, with the roles exchanged.",
        estimated="One peak of p: the one that q starts near, or that is easiest to fill.",
        gradient="Large where q has probability and p has next to none.",
        robustness="What p says far away from q does not count: outliers of p are ignored.",
        calibration="Too narrow where p has more than one peak or heavier tails than q.",
        breaks="It is infinite where p excludes what q allows; which peak is found depends on the "
        "start.",
        remedy="kl, or a mixture such as normal_mixture for q.",
        pytorch="torch.distributions.kl_divergence(q, p)",
        source="Bishop 2006, section 10.1",
    ),
    Loss(
        name="jensen_shannon",
        kind="divergence",
        synonyms=("Jensen-Shannon divergence", "js"),
        assumption="Neither of both is the reference: each is compared with the mixture of both.",
        formula="(KL(p, m) + KL(q, m)) / 2 with m = (p + q) / 2, from 0 to log 2",
        family="Numbers, counts, directions, classes and rankings; both of one kind.",
        estimated="Between kl and reverse_kl: of a p with several peaks it takes most of those "
        "that q can reach.",
        gradient="Next to nothing where p and q hardly overlap.",
        robustness="Bounded: no target of p costs more than log 2.",
        calibration="None promised where q's family does not hold p.",
        breaks="p and q are far apart, as at the start of a training: the gradient vanishes. "
        "It has no closed form, so that it takes many times as long as kl.",
        remedy="kl, at least until both overlap.",
        source="Lin 1991",
    ),
    Loss(
        name="hellinger",
        kind="divergence",
        synonyms=("Hellinger distance",),
        assumption="Neither of both is the reference: densities are compared by their square "
        "roots.",
        formula="sqrt(1 - integral of sqrt(p(y) q(y)) dy), from 0 to 1",
        family="Numbers, counts, directions, classes and rankings of one kind; multivariate "
        "normals and independent outputs by closed forms.",
        estimated="A fit to the bulk of p.",
        gradient="Next to nothing where p and q hardly overlap, and without a limit in direction "
        "where they are equal, since it is a distance; its square is smooth.",
        robustness="High: of a p with a few outliers among its probability, q follows the rest "
        "(Beran 1977).",
        calibration="None promised where q's family does not hold p.",
        breaks="p and q are far apart: the gradient vanishes.",
        remedy="kl, at least until both overlap, or wasserstein.",
        source="Hellinger 1909",
    ),
    Loss(
        name="wasserstein",
        kind="divergence",
        synonyms=("2-Wasserstein distance", "optimal transport", "earth mover's distance"),
        assumption="Errors matter by the distance over which probability has to be moved, in the "
        "units of the target.",
        formula="sqrt(integral over t from 0 to 1 of (F_p^-1(t) - F_q^-1(t))^2 dt)",
        family="Continuous numbers, independent outputs, and multivariate normals (Dowson and "
        "Landau 1982).",
        estimated="The quantiles of p, in the mean of squares: within the normal family its mean "
        "and its scale.",
        gradient="It does not vanish however far p and q are apart.",
        robustness="That of squares: a little probability far away counts for much.",
        calibration="The middle is matched well, tails only by their distance.",
        breaks="Moments are infinite, as those of cauchy, and the distance with them; counts and "
        "classes have no such distance here.",
        remedy="kl or hellinger.",
        source="Villani 2009",
    ),
]
