"""Losses of generative adversarial networks."""

from disthead.atlas.loss import Loss

_NO_DENSITY = (
    "None: the generator samples and has no density, so that nll and the metrics of (dist, y) do "
    "not take it; the energy score of its samples would do."
)

LOSSES = [
    Loss(
        name="minimax",
        kind="not a likelihood",
        synonyms=("minimax GAN loss", "saturating GAN loss", "vanilla GAN loss"),
        assumption="None about noise: a generator and a discriminator play against each other.",
        formula="discriminator: -log D(real) - log(1 - D(fake)); generator: log(1 - D(fake))",
        estimated="Samples; with the best discriminator the Jensen-Shannon divergence between real "
        "and generated rows is minimised.",
        gradient="The generator's vanishes where the discriminator is sure of its rows.",
        robustness="The discriminator's is that of binary cross-entropy.",
        calibration=_NO_DENSITY,
        breaks="The discriminator learns faster than the generator, or the generator keeps to a "
        "few modes.",
        remedy="non_saturating, or wasserstein_gan where samples lack modes.",
        pytorch="torch.nn.functional.binary_cross_entropy_with_logits for the discriminator",
        source="Goodfellow and others 2014",
    ),
    Loss(
        name="non_saturating",
        kind="not a likelihood",
        synonyms=("non-saturating GAN loss", "-log D trick"),
        assumption="None about noise: a generator and a discriminator play against each other.",
        formula="discriminator: -log D(real) - log(1 - D(fake)); generator: -log D(fake)",
        estimated="Samples.",
        gradient="The generator's is largest where the discriminator is sure of its rows.",
        robustness="The discriminator's is that of binary cross-entropy.",
        calibration=_NO_DENSITY,
        breaks="Training oscillates, or the generator keeps to a few modes.",
        remedy="hinge_gan with a spectral norm, or wasserstein_gan.",
        pytorch="torch.nn.functional.binary_cross_entropy_with_logits for both players",
        source="Goodfellow and others 2014",
    ),
    Loss(
        name="hinge_gan",
        kind="not a likelihood",
        synonyms=("GAN hinge loss", "geometric GAN loss"),
        assumption="None about noise: a generator and a discriminator play against each other.",
        formula="discriminator: max(0, 1 - real) + max(0, 1 + fake); generator: -fake",
        estimated="Samples.",
        gradient="The discriminator's is 0 for rows beyond the margin; the generator's is constant "
        "in the discriminator's output.",
        robustness="Rows that the discriminator tells well no longer count.",
        calibration=_NO_DENSITY,
        breaks="The discriminator is not smooth, so that the generator follows its noise.",
        remedy="A spectral norm on the discriminator (torch.nn.utils.parametrizations), or "
        "wasserstein_gan.",
        source="Lim and Ye 2017; Miyato and others 2018",
    ),
    Loss(
        name="wasserstein_gan",
        kind="not a likelihood",
        synonyms=("WGAN", "WGAN-GP", "Wasserstein GAN loss", "critic loss"),
        assumption="None about noise: the critic is nearly 1-Lipschitz, which the penalty on its "
        "gradient asks for.",
        formula="critic: fake - real + penalty (||gradient|| - 1)^2; generator: -fake",
        estimated="Samples; the mean of real - fake estimates the Wasserstein distance.",
        gradient="Constant in the critic's output: it does not vanish where the critic is sure.",
        robustness="Distances grow linearly, so that far outliers among real rows weigh.",
        calibration=_NO_DENSITY,
        breaks="The critic is trained too little between steps of the generator, or has batch "
        "normalisation, with which a row has no gradient of its own.",
        remedy="Five steps of the critic for each of the generator, and layer normalisation.",
        source="Arjovsky, Chintala and Bottou 2017; Gulrajani and others 2017",
    ),
]
