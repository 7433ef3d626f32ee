"""Bounds of likelihoods."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="elbo",
        kind="likelihood",
        synonyms=("evidence lower bound", "variational free energy", "VAE loss", "beta-VAE"),
        assumption="The data come from latents with the prior, by the decoder's distribution; the "
        "posterior of the latents is near the family of the encoder.",
        formula="beta KL(q(z | y), p(z)) - E_q[log p(y | z)]",
        family="Any for the decoder; posterior and prior with a known divergence.",
        estimated="The decoder's parameters, and the posterior of the latents within its family; "
        "for beta = 1 an upper bound of -log p(y).",
        gradient="That of the decoder's likelihood through samples of the latents, and the closed "
        "one of the divergence.",
        robustness="That of the decoder's family.",
        calibration="The bound favours posteriors that are too narrow; beta other than 1 is no "
        "likelihood, and scales the noise of the decoder instead.",
        breaks="The decoder explains the data without the latents, whose posterior becomes the "
        "prior (posterior collapse); a decoder's scale shrinks to nothing.",
        remedy="A beta that grows from 0 in the first epochs, a weaker decoder, iwae for a tighter "
        "bound, a minimum scale of the decoder's family.",
        source="Kingma and Welling 2014; Higgins and others 2017",
    ),
    Loss(
        name="iwae",
        kind="likelihood",
        synonyms=("importance-weighted autoencoder", "importance-weighted bound"),
        assumption="That of elbo; samples of the posterior reach where the true one is.",
        formula="-log(mean over samples z_s of q of p(y | z_s) p(z_s) / q(z_s | y))",
        family="Any for the decoder, and any with densities for posterior and prior.",
        estimated="The decoder's parameters; -log p(y) in the limit of many samples.",
        gradient="That of elbo, each sample with its share of the importance weights; that of the "
        "encoder becomes noisier with more samples.",
        robustness="A few samples may hold nearly all weight where the posterior is too narrow.",
        calibration="Tighter than elbo, and less in favour of narrow posteriors.",
        breaks="Latents of many dimensions need very many samples; the encoder learns little from "
        "many samples (Rainforth 2018).",
        remedy="Fewer samples for training, many for reporting the likelihood.",
        source="Burda and others 2016",
    ),
]
