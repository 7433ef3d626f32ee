"""Special functions with gradients in all arguments: pure tensor functions that know no family."""

from .quadrature import gauss_legendre, integrate, tanh_sinh
from .stirling import (
    beta_log_kernel,
    binomial_log_mass,
    deviance,
    expm1mx,
    log1pmx,
    log_beta,
    log_gamma_ratio,
    negative_binomial_log_mass,
    poisson_log_mass,
    stirling_error,
)
