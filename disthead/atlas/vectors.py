"""Scores of the dependence between the coordinates of a vector."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="variogram",
        kind="proper score",
        synonyms=("variogram score",),
        assumption="None about the noise beyond the family; differences of coordinates matter.",
        formula="sum over pairs i, j of (|y_i - y_j|^power - E|Y_i - Y_j|^power)^2",
        estimated="The expected sizes of the differences between coordinates.",
        gradient="By samples that move with the parameters, so that it is noisy.",
        robustness="A smaller power makes outliers count less.",
        calibration="Proper, not strictly: it does not see a shift of all coordinates, and tells "
        "correlations apart that energy hardly does.",
        breaks="It is the only objective: locations are not determined.",
        remedy="nll where the family is right, or energy beside it.",
        source="Scheuerer and Hamill 2015",
    ),
]
