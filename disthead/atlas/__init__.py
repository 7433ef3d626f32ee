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

__all__ = ["Loss", "find", "losses"]


def losses() -> dict[str, Loss]:
    """All losses by their names, in the order of their kinds."""
    files = [
        importlib.import_module(f"{__name__}.{file.name}")
        for file in pkgutil.iter_modules(__path__)
    ]
    described = [loss for file in files for loss in getattr(file, "LOSSES", ())]
    return {loss.name: loss for loss in sorted(described, key=lambda loss: loss.place)}


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
        if _plain(name) in map(_plain, (loss.name, *loss.synonyms)):
            return loss
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
