"""Special functions with gradients in all arguments: pure tensor functions that know no family.

Their tensor arguments broadcast, and plain numbers may stand in for some of them. They compute in
double precision and return the promoted dtype of their tensors, at least float32
(`precision.in_float64`).
"""

from .incomplete_beta import betainc, betaincc, betaincinv, log_betainc, log_betaincc
from .incomplete_gamma import (
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    log_gammainc,
    log_gammaincc,
)
from .inverse import bracketed_inverse, bracketed_newton, implicit, integer_inverse
from .normal import log_ndtr, log_ndtr_difference, ndtri_exp
from .quadrature import (
    gauss_legendre,
    gauss_legendre_antiderivative,
    integrate,
    tanh_sinh,
    tanh_sinh_beyond,
)
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
from .student_t import student_t_cdf, student_t_icdf, student_t_log_cdf, student_t_log_density
from .von_mises import (
    bessel_ratio,
    bessel_ratio_complement,
    von_mises_cdf,
    von_mises_excess,
    von_mises_icdf,
    von_mises_log_cdf,
    von_mises_log_normalizer,
    von_mises_mean_distance,
)
