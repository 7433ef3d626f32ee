"""The atlas of losses: what each loss assumes about the noise, what it estimates, when it breaks.

Every file here describes the losses of one kind in a list LOSSES, in words alone; the functions are
in `disthead.objectives`. The folder is listed to find them.
"""

import importlib
import pkgutil

from disthead.atlas.loss import Loss

__all__ = ["Loss", "losses"]


def losses() -> dict[str, Loss]:
    """All losses by their names, in the order of their kinds."""
    files = [
        importlib.import_module(f"{__name__}.{file.name}")
        for file in pkgutil.iter_modules(__path__)
    ]
    described = [loss for file in files for loss in getattr(file, "LOSSES", ())]
    return {loss.name: loss for loss in sorted(described, key=lambda loss: loss.place)}
