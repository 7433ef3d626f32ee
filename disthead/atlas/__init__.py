"""The atlas of losses: what each loss assumes about the noise, what it estimates, when it breaks.

Every file here describes the losses of one kind in a list LOSSES, in words alone; the functions are
in `disthead.objectives`. The folder is listed to find them.

>>> losses()["nll"].kind
'likelihood'
>>> find("log score").name
'nll'
"""

import importlib
import pkgutil
import re

from disthead.atlas.loss import Loss

__all__ = ["Loss", "find", "losses", "plain"]


def losses() -> dict[str, Loss]:
    """All losses by their names, kind by kind, in the order of the alphabet."""
    files = [
        importlib.import_module(f"{__name__}.{file.name}")
        for file in pkgutil.iter_modules(__path__)
    ]
    described = [loss for file in files for loss in getattr(file, "LOSSES", ())]
    described.sort(key=lambda loss: (loss.place, loss.name))
    return {loss.name: loss for loss in described}


def find(name: str) -> Loss | None:
    """The loss of that name or synonym; None where there is none.

    Capitals, spaces, hyphens and underscores make no difference.

    >>> find("Log-Loss").name
    'nll'
    """
    described = losses()
    if name in described:
        return described[name]
    for loss in described.values():
        if plain(name) in map(plain, (loss.name, *loss.synonyms)):
            return loss
    return None


def plain(name: str) -> str:
    """A name without capitals, spaces, hyphens and underscores, by which names are compared."""
    return re.sub(r"[\s_-]+", "", name).lower()
