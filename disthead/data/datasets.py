"""Named data sets without download: those of scikit-learn and statsmodels, and generated ones."""

from typing import TYPE_CHECKING

import torch

from disthead.errors import pick, unknown_name

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["load_dataset"]


def load_dataset(name: str) -> "DataFrame":
    """The data set of that name: `sklearn.diabetes`, `statsmodels.engel`, `generated.direction` ...

    Classes of scikit-learn's data sets are given by their names. `statsmodels.star98` gets a column
    `SHARE_ABOVE`, NABOVE / (NABOVE + NBELOW), the share of pupils above the national median.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    source, _, own_name = name.partition(".")
    return pick("source of data sets", source, _SOURCES)(own_name)


def _sklearn(name: str) -> "DataFrame":
    from sklearn import datasets

    loaders = {"breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine"}
    if name not in loaders:
        raise unknown_name("data set of scikit-learn", name, sorted(loaders))
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = bunch.frame
    if name in ("breast_cancer", "iris", "wine"):
        frame = frame.assign(target=[str(bunch.target_names[k]) for k in frame["target"]])
    return frame


def _statsmodels(name: str) -> "DataFrame":
    from statsmodels import datasets

    known = sorted(key for key, value in vars(datasets).items() if hasattr(value, "load_pandas"))
    if name not in known:
        raise unknown_name("data set of statsmodels", name, known)
    frame = getattr(datasets, name).load_pandas().data
    if name == "star98":
        frame = frame.assign(SHARE_ABOVE=frame["NABOVE"] / (frame["NABOVE"] + frame["NBELOW"]))
    return frame


def _generated(name: str) -> "DataFrame":
    return pick("generated data set", name, _GENERATORS)(torch.Generator().manual_seed(0))


def _direction(generator: torch.Generator) -> "DataFrame":
    """Headings in radians that depend on the features; their noise falls with `steadiness`."""
    from pandas import DataFrame

    x = torch.randn(600, 2, generator=generator, dtype=torch.float64)
    heading = 2.0 * torch.tanh(x[:, 0])
    noise = torch.randn(600, generator=generator, dtype=torch.float64) * torch.exp(
        -0.5 * x[:, 1] - 1
    )
    angle = heading + noise
    return DataFrame(
        {
            "current": x[:, 0],
            "steadiness": x[:, 1],
            "heading": torch.atan2(angle.sin(), angle.cos()).numpy(),
        }
    )


def _ranking(generator: torch.Generator) -> "DataFrame":
    """Rankings of four items, best first, by scores linear in two features, plus Gumbel noise."""
    from pandas import DataFrame

    x = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    worth = torch.tensor([[1.5, 0.0], [0.0, 1.5], [-1.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    uniform = torch.rand(500, 4, generator=generator, dtype=torch.float64)
    ranking = (x @ worth.T - torch.log(-torch.log(uniform))).argsort(-1, descending=True)
    places = ("first", "second", "third", "fourth")
    return DataFrame(
        {"price": x[:, 0], "quality": x[:, 1]}
        | {place: ranking[:, k].numpy() for k, place in enumerate(places)}
    )


def _heteroscedastic(generator: torch.Generator) -> "DataFrame":
    """Normal targets with mean sin(2 x) + x and standard deviation exp(0.5 x - 1), also columns."""
    from pandas import DataFrame

    x = 4 * torch.rand(5000, generator=generator, dtype=torch.float64) - 2
    mean, stddev = torch.sin(2 * x) + x, torch.exp(0.5 * x - 1)
    y = mean + stddev * torch.randn(5000, generator=generator, dtype=torch.float64)
    return DataFrame(
        {"x": x.numpy(), "y": y.numpy(), "mean": mean.numpy(), "stddev": stddev.numpy()}
    )


_SOURCES = {"sklearn": _sklearn, "statsmodels": _statsmodels, "generated": _generated}
_GENERATORS = {"direction": _direction, "ranking": _ranking, "heteroscedastic": _heteroscedastic}
