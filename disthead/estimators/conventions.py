"""The base class, an error and a warning of scikit-learn, or stand-ins where it is not installed.

They are imported when they are first needed.
"""

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Self

from disthead.errors import nearest, warn

__all__ = ["AdoptsScikitLearn", "BaseEstimator", "warn"]


if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
else:

    class BaseEstimator:
        """A stand-in for scikit-learn's class of that name, until there is an instance.

        The parameters are the arguments of `__init__`. scikit-learn takes longer to import than
        torch, and imports pandas. It is imported when the first estimator is made, and its class
        replaces this one then (`AdoptsScikitLearn`).
        """

        @classmethod
        def _get_param_names(cls) -> list[str]:
            return sorted(name for name in _arguments(cls))

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """The parameters by name; `deep` has no effect."""
            return {name: getattr(self, name) for name in self._get_param_names()}

        def set_params(self, **params: Any) -> Self:
            """Set parameters by name.

            Raises:
                ValueError: for unknown names.
            """
            for name, value in params.items():
                if name not in self._get_param_names():
                    raise ValueError(
                        f"Invalid parameter {name!r} for {self!r}: "
                        f"{', '.join(self._get_param_names())}."
                    )
                setattr(self, name, value)
            return self

        def __repr__(self) -> str:
            defaults = {name: p.default for name, p in _arguments(type(self)).items()}
            changed = {
                name: value for name, value in self.get_params().items() if value != defaults[name]
            }
            arguments = ", ".join(f"{name}={value!r}" for name, value in changed.items())
            return f"{type(self).__name__}({arguments})"


class AdoptsScikitLearn:
    """A class whose first instance replaces the stand-in by scikit-learn's base class.

    It comes last among the bases, so that the signature of an estimator is that of its `__init__`.
    """

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Make an estimator, after scikit-learn's base class replaced the stand-in.

        Raises:
            TypeError: for unknown parameters, with the nearest names.
        """
        _adopt_scikit_learn()
        parameters = _arguments(cls)
        takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        for name in () if takes_any else options:
            if name not in parameters:
                raise TypeError(
                    f"{cls.__name__} has no parameter {name!r}{nearest(name, parameters)} "
                    f"Parameters: {', '.join(parameters)}."
                )
        return object.__new__(cls)


def _arguments(estimator: type) -> dict[str, inspect.Parameter]:
    """The parameters of the constructor, without self."""
    return dict(list(inspect.signature(estimator.__init__).parameters.items())[1:])  # type: ignore[misc]


def _adopt_scikit_learn() -> None:
    """Replace the stand-in by scikit-learn's base class, where scikit-learn is installed."""
    if not BaseEstimator.__subclasses__():
        return
    try:
        base: Any = importlib.import_module("sklearn.base").BaseEstimator
    except ImportError:
        return
    for estimator in BaseEstimator.__subclasses__():
        estimator.__bases__ = tuple(
            base if parent is BaseEstimator else parent for parent in estimator.__bases__
        )
        for subclass in (estimator, *estimator.__subclasses__()):
            base.__init_subclass__.__func__(subclass)  # it adds the requests for metadata


class _StandIns:
    class NotFittedError(ValueError, AttributeError):
        """An estimator was used before `fit`."""

    class DataConversionWarning(UserWarning):
        """A column was given where an array of one dimension was expected."""


def __getattr__(name: str) -> type:
    # `NotFittedError` and `DataConversionWarning` are those of scikit-learn where it is installed
    if name not in ("NotFittedError", "DataConversionWarning"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module("sklearn.exceptions"), name)
    except ImportError:
        return getattr(_StandIns, name)
