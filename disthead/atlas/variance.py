"""Cures of the collapsing variance."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="beta_nll",
        kind="changed likelihood",
        synonyms=("beta-NLL", "beta negative log-likelihood", "variance-weighted likelihood"),
        assumption="The noise has the family's distribution; rows that the model believes to be "
        "noisy shall still teach the mean.",
        formula="-log p(y) * stop_gradient(variance)^beta, with variance = scale^2 in families "
        "with a location and a scale",
        family="Any of one number with a variance or a scale; normal in the paper.",
        estimated="The same parameters as by the likelihood; with rows weighted by variance^beta.",
        gradient="That of the likelihood times variance^beta: the mean of a normal distribution "
        "gets (mean - y) / variance^(1 - beta), for beta = 1 that of the squared error.",
        robustness="Less than that of the likelihood: noisy rows, and outliers that the scale has "
        "followed, count more.",
        calibration="The optimum of a row by itself is that of the likelihood, so that a flexible "
        "network stays calibrated; a compromise between rows leans to those with large variances.",
        breaks="Scales of rows differ by orders of magnitude and beta is near 1: the noisiest rows "
        "rule. A variance that is infinite makes the objective so.",
        remedy="A smaller beta, 0.5 being the paper's choice; student_t; nll where the fit of the "
        "mean is good already. For normal also nll with parametrization='natural', which is no "
        "loss but a choice of raw outputs: that of loc is loc / scale^2, and its gradient loc - y "
        "whatever the scale (Immer and others 2023).",
        source="Seitzer, Tavakoli, Antic and Martius 2022",
    ),
    Loss(
        name="faithful",
        kind="changed likelihood",
        synonyms=("faithful heteroscedastic regression", "faithful gradients"),
        assumption="The mean is worth learning as if all rows were equally uncertain; the scale "
        "describes the residuals of that mean.",
        formula="(y - mean)^2 / 2 - log p(y | stop_gradient(mean), scale)",
        family="Those whose mean is a parameter: normal, laplace, logistic, student_t, huber, "
        "hyperbolic_secant, generalized_normal, inverse_gaussian, and families by their mean.",
        estimated="The mean by least squares, scale and shapes by the likelihood given the mean.",
        gradient="By the mean linear in the residual, whatever the scale; by the scale that of the "
        "likelihood.",
        robustness="That of the squared error: an outlier pulls the mean in proportion to its "
        "distance, for student_t too.",
        calibration="The scale is fitted by a likelihood, so that it fits the residuals. The paper "
        "also keeps the gradient of the scale from the layers that mean and scale have in common; "
        "an objective does not see these, and this part is left out.",
        breaks="Noise differs much between rows and rows are few: least squares wastes the precise "
        "rows.",
        remedy="beta_nll, which is in between, or nll.",
        source="Stirn, Wessels, Schertzer, Pereira, Sanjana and Knowles 2023",
    ),
    Loss(
        name="warm_up",
        kind="changed likelihood",
        synonyms=("mean-first training", "warm-up of the mean", "split training"),
        assumption="The mean is easier to learn while all rows count alike; afterwards the noise "
        "has the family's distribution.",
        formula="(y - mean)^2 / 2 in the first steps, then -log p(y) or another objective",
        family="Any with a mean, but for directions.",
        estimated="What the last objective estimates.",
        gradient="Linear in the residual at first, then that of the last objective.",
        robustness="At last that of the objective that follows.",
        calibration="That of the objective that follows, since it is what the training ends with.",
        breaks="The change comes at a large learning rate: the gradients of the scale are new to "
        "Adam, and training may diverge. Or training ends before it, so that no scale was learned, "
        "of which a warning tells.",
        remedy="Fewer steps, which end while the learning rate still rises; beta_nll, which has no "
        "schedule.",
        source="Nix and Weigend 1994; Detlefsen, Jørgensen and Hauberg 2019",
    ),
]
