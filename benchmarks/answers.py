"""How quick are a distribution's answers beside SciPy's, and beside its own density, cdf and
quantile?

    python -m benchmarks.answers [FAMILY ...] [--rows 20000] [--rounds 5] [--seconds 0.05] [--device
    cpu cuda]

A cell is the microseconds that one row takes, how many times as long that is as what it stands
beside, and in brackets how many times it may take; what takes longer is bold, and listed at the
end. Families of one number stand beside SciPy's function for the same question and the same
parameters, in double precision for both precisions of ours; a quantile with gradient (forward and
backward) beside one without; mixtures, ensembles, and `highest_density` of all, beside answers of
their own.

Each round asks everything once, one after the other, on one thread; ratios are medians over the
rounds. A call takes about `--seconds`: questions that cost more are asked for fewer rows than
`--rows`. Times on the CPU are the process's own, since the clock of a shared machine also counts
the work of others. On a device, where no SciPy is, ratios to SciPy are missing.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import scipy.special as sp
import scipy.stats as st
import torch
from torch import Tensor

import disthead as dh
from disthead.calibration import QuantileRecalibration
from disthead.families import ensemble

LEVELS = torch.arange(1, 20, dtype=torch.float64) / 20
PRECISIONS = (torch.float64, torch.float32)
# of rows from one trial to the next, and of its time, when rows are what takes it
_GROWTH, _GROWN = 5, 3.5
_MOST = 6  # times `--seconds` that a call may take to be asked again
# of a distribution, with targets and levels for its rows
Question = Callable[[Any, Tensor, Tensor], Any]


def _icdf_with_gradient(dist: Any, y: Tensor, q: Tensor) -> None:
    wanted = dist.map(
        lambda parameter: parameter.detach().requires_grad_(parameter.is_floating_point())
    )
    wanted.icdf(q).sum().backward()


QUESTIONS: dict[str, Question] = {
    "log_prob": lambda dist, y, q: dist.log_prob(y),
    "cdf": lambda dist, y, q: dist.cdf(y),
    "log_cdf": lambda dist, y, q: dist.log_cdf(y),
    "log_survival": lambda dist, y, q: dist.log_survival(y),
    "icdf": lambda dist, y, q: dist.icdf(q),
    "icdf with gradient": _icdf_with_gradient,
    "19 quantiles": lambda dist, y, q: dist.icdf(LEVELS.to(q).unsqueeze(-1)),
    "interval": lambda dist, y, q: dist.interval(0.9),
    "crps": lambda dist, y, q: dist.crps(y),
    "entropy": lambda dist, y, q: dist.entropy(),
    "highest_density": lambda dist, y, q: dist.highest_density(0.9),
    "mode": lambda dist, y, q: dist.mode,
    "mean": lambda dist, y, q: dist.mean,
    "variance": lambda dist, y, q: dist.variance,
}


@dataclass(frozen=True)
class Goal:
    """A question may take `most` (double precision, single precision) times as long as what it
    stands beside.
    """

    question: str
    beside: str | None = None  # a question, SciPy's answer, or nothing: `most` in microseconds
    most: tuple[float, float] | None = None  # None: only shown


def _goal(question: str, beside: str | None = None, most: float | None = None) -> Goal:
    return Goal(question, beside, None if most is None else (most, most))


@dataclass(frozen=True)
class Peer:
    """SciPy's answers for the parameters `p` (an attribute for each), at targets y and levels q."""

    cdf: Callable
    icdf: Callable
    survival: Callable | None = None
    log_cdf: Callable | None = None
    log_survival: Callable | None = None

    def answers(self) -> dict[str, Callable]:
        survival = self.survival or (lambda p, y: 1 - self.cdf(p, y))
        log_cdf = self.log_cdf or (lambda p, y: np.log(self.cdf(p, y)))
        log_survival = self.log_survival or (lambda p, y: np.log(survival(p, y)))
        return {
            "cdf": lambda p, y, q: self.cdf(p, y),
            "log_cdf": lambda p, y, q: log_cdf(p, y),
            "log_survival": lambda p, y, q: log_survival(p, y),
            "icdf": lambda p, y, q: self.icdf(p, q),
        }


def _standard(p: Any, y: np.ndarray) -> np.ndarray:
    return (y - p.loc) / p.scale


def _laplace_icdf(p: Any, q: np.ndarray) -> np.ndarray:
    return p.loc + p.scale * np.where(q < 0.5, np.log(2 * q), -np.log(2 * (1 - q)))


PEERS = {
    "normal": Peer(
        lambda p, y: sp.ndtr(_standard(p, y)),
        lambda p, q: p.loc + p.scale * sp.ndtri(q),
        log_cdf=lambda p, y: sp.log_ndtr(_standard(p, y)),
        log_survival=lambda p, y: sp.log_ndtr(-_standard(p, y)),
    ),
    "laplace": Peer(lambda p, y: st.laplace.cdf(y, p.loc, p.scale), _laplace_icdf),
    "student_t": Peer(
        lambda p, y: sp.stdtr(p.df, _standard(p, y)),
        lambda p, q: p.loc + p.scale * sp.stdtrit(p.df, q),
        lambda p, y: sp.stdtr(p.df, -_standard(p, y)),
    ),
    "exponential": Peer(
        lambda p, y: -np.expm1(-p.rate * y),
        lambda p, q: -np.log1p(-q) / p.rate,
        log_survival=lambda p, y: -p.rate * y,
    ),
    "gamma": Peer(
        lambda p, y: sp.gammainc(p.concentration, p.rate * y),
        lambda p, q: sp.gammaincinv(p.concentration, q) / p.rate,
        lambda p, y: sp.gammaincc(p.concentration, p.rate * y),
    ),
    "beta": Peer(
        lambda p, y: sp.betainc(p.concentration1, p.concentration0, y),
        lambda p, q: sp.betaincinv(p.concentration1, p.concentration0, q),
        lambda p, y: sp.betainc(p.concentration0, p.concentration1, 1 - y),
    ),
    "log_normal": Peer(
        lambda p, y: sp.ndtr((np.log(y) - p.loc) / p.scale),
        lambda p, q: np.exp(p.loc + p.scale * sp.ndtri(q)),
        log_cdf=lambda p, y: sp.log_ndtr((np.log(y) - p.loc) / p.scale),
        log_survival=lambda p, y: sp.log_ndtr((p.loc - np.log(y)) / p.scale),
    ),
    "weibull": Peer(
        lambda p, y: -np.expm1(-((y / p.scale) ** p.concentration)),
        lambda p, q: p.scale * (-np.log1p(-q)) ** (1 / p.concentration),
        log_survival=lambda p, y: -((y / p.scale) ** p.concentration),
    ),
    "von_mises": Peer(
        lambda p, y: st.vonmises.cdf(y - p.loc, p.concentration),
        lambda p, q: p.loc + st.vonmises.ppf(q, p.concentration),
    ),
    "bernoulli": Peer(
        lambda p, y: np.where(y < 1, sp.expit(-p.logits), 1.0),
        lambda p, q: np.where(q > sp.expit(-p.logits), 1.0, 0.0),
    ),
    "poisson": Peer(
        lambda p, y: sp.pdtr(y, p.rate),
        lambda p, q: np.ceil(sp.pdtrik(q, p.rate)),
        lambda p, y: sp.pdtrc(y, p.rate),
    ),
    "negative_binomial": Peer(
        lambda p, y: sp.betainc(p.total_count, y + 1, sp.expit(-p.logits)),
        lambda p, q: np.ceil(sp.nbdtrik(q, p.total_count, sp.expit(-p.logits))),
        lambda p, y: sp.betainc(y + 1, p.total_count, sp.expit(p.logits)),
    ),
}


@dataclass(frozen=True)
class Case:
    make: Callable[[torch.Generator, int], Any]  # rows -> a distribution in double precision
    goals: Sequence[Goal]
    peer: Peer | None = None
    # the distribution that questions "of the base" are about
    base: Callable[[Any], Any] | None = None
    group: str = ""
    has_gradient: bool = field(default=True)


def _from_parameters(
    name: str, generator: torch.Generator, rows: int, centre: float = 0.0, **options: Any
) -> dh.Distribution:
    """Random parameters for every row, as a model would give them, without the raw outputs that
    they come from.
    """
    family = dh.get_family(name, **options)
    raw = torch.randn(rows, family.width(), generator=generator, dtype=torch.float64) + centre
    return family.distribution(**_parameters(family, family.from_raw(raw)))


def _parameters(family: dh.Family, dist: dh.Distribution) -> dict[str, Tensor]:
    given = dist.parameters
    return {name: given[name] for name in family.parameters}


def _ensemble(generator: torch.Generator, rows: int, members: int = 8) -> dh.Distribution:
    """Members that agree about as much as trained ones do."""
    family = dh.get_family("student_t")
    shape = (members, rows, family.width())
    raw = torch.randn(shape[1:], generator=generator, dtype=torch.float64)
    raw = raw + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return ensemble(family.distribution(**_parameters(family, family.from_raw(raw))))


def _recalibrated(name: str, generator: torch.Generator, rows: int) -> dh.Distribution:
    dist = _from_parameters(name, generator, max(rows, 2000))
    y = dist.sample(generator=generator)
    return QuantileRecalibration().fit(dist[:2000], y[:2000])(dist)[:rows]


BESIDE_SCIPY = [
    _goal("log_prob"),
    *(
        Goal(question, "SciPy", (1.5, 1.0))
        for question in ("cdf", "log_cdf", "log_survival", "icdf")
    ),
    _goal("icdf with gradient", "icdf", 3),
    _goal("19 quantiles", "icdf"),
    _goal("interval", "icdf"),
    _goal("crps", "cdf"),
    _goal("entropy", "log_prob"),
    _goal("highest_density", "icdf", 40),
    _goal("mode", "log_prob"),
]
MIXTURES = [
    _goal("log_prob"),
    _goal("cdf", "log_prob"),
    _goal("log_cdf", "cdf"),
    _goal("log_survival", "cdf"),
    _goal("icdf", "cdf", 12),
    _goal("icdf with gradient", "icdf", 3),
    _goal("19 quantiles", "icdf", 6),
    _goal("interval", "icdf"),
    _goal("crps", "cdf", 60),
    _goal("entropy", "log_prob", 300),
    _goal("highest_density", "icdf", 40),
    _goal("mode", "log_prob", 30),
]
RECALIBRATED = [
    _goal("log_prob", "log_prob of the base"),
    _goal("cdf", "cdf of the base"),
    _goal("icdf", "icdf of the base"),
    # Sums, beside the one of the base: its moments are parameters, which take no time.
    *(_goal(question, "crps of the base", 10) for question in ("crps", "mean", "variance")),
]
OF_THE_ENSEMBLE = {"interval": 60.0, "crps": 150.0, "19 quantiles": 400.0}  # microseconds a row


def _instead(goals: Sequence[Goal], *others: Goal) -> list[Goal]:
    own = {goal.question: goal for goal in others}
    return [own.get(goal.question, goal) for goal in goals]


COUNTED = ("bernoulli", "poisson", "negative_binomial")
NEGATIVE_BINOMIAL = _instead(
    BESIDE_SCIPY, _goal("icdf", "SciPy", 3), _goal("entropy", "log_prob", 100)
)


def _cases() -> dict[str, Case]:
    cases = {
        name: Case(
            partial(_from_parameters, name),
            NEGATIVE_BINOMIAL if name == "negative_binomial" else BESIDE_SCIPY,
            peer,
            group="Families beside SciPy",
            has_gradient=name not in COUNTED,
        )
        for name, peer in PEERS.items()
    }
    for name, centre in (("gamma", 100.0), ("poisson", 100.0), ("negative_binomial", 4.0)):
        like = cases[name]
        make = partial(_from_parameters, name, centre=centre)
        cases[f"{name} about {centre:.0f}"] = Case(
            make, like.goals, like.peer, group=like.group, has_gradient=like.has_gradient
        )
    for component in ("normal", "student_t", "poisson"):
        make = partial(_from_parameters, "mixture", component=component, num_components=5)
        has_gradient = component not in COUNTED
        cases[f"mixture of 5 {component}{'' if component == 'student_t' else 's'}"] = Case(
            make, MIXTURES, group="Mixtures beside themselves", has_gradient=has_gradient
        )
    in_time = [_goal(name, most=most) for name, most in OF_THE_ENSEMBLE.items()]
    cases["ensemble of 8 student_t"] = Case(
        _ensemble, [*MIXTURES, *in_time], group="An ensemble, its answers in microseconds last"
    )
    for name in ("gamma", "poisson", "negative_binomial"):
        cases[f"recalibrated {name}"] = Case(
            partial(_recalibrated, name),
            RECALIBRATED,
            base=lambda dist: dist.base,
            group="Recalibrated beside their base",
            has_gradient=False,
        )
    return cases


CASES = _cases()


class _Numbers:
    """The parameters as arrays of NumPy."""

    def __init__(self, dist: dh.Distribution):
        for name, value in dist.parameters.items():
            setattr(self, name, value.double().numpy())


@dataclass
class _Job:
    """One question for as many rows as a call may take; `seconds` of its rounds, for one row."""

    ask: Callable[[int], Callable[[], Any]]  # rows -> the call
    synchronise: Callable[[], None]
    clock: Callable[[], float]
    call: Callable[[], Any] = field(init=False)
    rows: int = field(init=False)
    seconds: list[float] = field(default_factory=list)

    def prepare(self, rows: int, limit: float) -> None:
        """Finds the number of rows, beginning with two: until a call takes `limit` and its rows,
        not its steps, take the time.
        """
        self.rows, before = 2, 0.0
        self.call = self.ask(self.rows)
        self._time()  # a first call makes more than its answer
        while True:
            taken = self._time()
            if (
                self.rows >= rows
                or taken > _MOST * limit
                or (before and taken > max(limit / 2, _GROWN * before))
            ):
                break
            before, self.rows = taken, min(rows, _GROWTH * self.rows)
            self.call = self.ask(self.rows)
        if taken > _MOST * limit:
            self.seconds = [taken / self.rows]

    def run(self, limit: float) -> None:
        is_slow = self.seconds and self.seconds[-1] * self.rows > _MOST * limit  # asked no more
        self.seconds.append(self.seconds[-1] if is_slow else self._time() / self.rows)

    def _time(self) -> float:
        self.synchronise()
        start = self.clock()
        self.call()
        self.synchronise()
        return self.clock() - start


def measure(
    case: Case, dtype: torch.dtype, device: str, rows: int, rounds: int, limit: float
) -> dict[str, list[float]]:
    """Microseconds a row in each round, by question; SciPy's under "SciPy cdf", those of the base
    under "cdf of the base".
    """
    generator = torch.Generator().manual_seed(0)
    exact = case.make(generator, rows)
    targets = exact.sample(generator=generator)
    levels = torch.rand(rows, generator=generator, dtype=torch.float64)
    dist = exact.map(lambda parameter: parameter.to(device, dtype))
    y, q = targets.to(device, dtype), levels.to(device, dtype)
    on_host = device == "cpu"
    synchronise: Callable[[], None] = (lambda: None) if on_host else torch.cuda.synchronize
    clock = time.process_time if on_host else time.perf_counter

    def ours(question: Question, of: Any) -> Callable[[int], Callable[[], Any]]:
        return lambda n: partial(question, of[:n], y[:n], q[:n])

    def scipys(answer: Callable) -> Callable[[int], Callable[[], Any]]:
        return lambda n: partial(
            answer, _Numbers(exact[:n]), targets[:n].numpy(), levels[:n].numpy()
        )

    jobs = {}
    for goal in case.goals:
        if goal.question == "icdf with gradient" and not case.has_gradient:
            continue
        jobs[goal.question] = _Job(ours(QUESTIONS[goal.question], dist), synchronise, clock)
        if case.base is not None:
            jobs[f"{goal.question} of the base"] = _Job(
                ours(QUESTIONS[goal.question], case.base(dist)), synchronise, clock
            )
        if case.peer is not None and on_host and goal.beside == "SciPy":
            jobs[f"SciPy {goal.question}"] = _Job(
                scipys(case.peer.answers()[goal.question]), synchronise, clock
            )
    with np.errstate(all="ignore"):
        for job in jobs.values():
            job.prepare(rows, limit)
        for _ in range(rounds):
            for job in jobs.values():
                job.run(limit)
    return {
        name: [1e6 * seconds for seconds in job.seconds[-rounds:]] for name, job in jobs.items()
    }


@dataclass(frozen=True)
class Cell:
    """What one question takes: microseconds a row, times of what it stands beside, and what is
    allowed.
    """

    microseconds: float
    ratio: float | None
    most: float | None

    @property
    def is_missed(self) -> bool:
        found = self.microseconds if self.ratio is None else self.ratio
        return self.most is not None and found > self.most

    def __str__(self) -> str:
        text = _digits(self.microseconds)
        if self.ratio is not None:
            text += f" = {_digits(self.ratio)}x"
        if self.most is not None:
            text += f" ({_digits(self.most)})"
        return f"**{text}**" if self.is_missed else text


def cells(case: Case, dtype: torch.dtype, found: dict[str, list[float]]) -> dict[str, Cell]:
    """A cell for each goal, by its column."""
    result = {}
    for goal in case.goals:
        if goal.question not in found:
            continue
        own = found[goal.question]
        beside = found.get(f"SciPy {goal.question}" if goal.beside == "SciPy" else str(goal.beside))
        ratio = (
            None
            if beside is None
            else statistics.median(a / b for a, b in zip(own, beside, strict=True))
        )
        compared = goal.beside is None or ratio is not None
        most = goal.most[PRECISIONS.index(dtype)] if goal.most is not None and compared else None
        result[_column(goal)] = Cell(statistics.median(own), ratio, most)
    return result


def _column(goal: Goal) -> str:
    beside = " of the base" if str(goal.beside).endswith("of the base") else f" / {goal.beside}"
    return goal.question + ("" if goal.beside is None else beside)


def _digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"one of {', '.join(CASES)}; all by default"
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.05, help="time for one call")
    with_device = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--device", nargs="+", default=with_device, choices=["cpu", "cuda"])
    given = parser.parse_args()
    if unknown := [name for name in given.families if name not in CASES]:
        parser.error(f"unknown family {unknown[0]!r}, expected one of: {', '.join(CASES)}")
    torch.set_num_threads(1)
    missed = []
    for device in given.device:
        group = ""
        for name in given.families or CASES:
            case = CASES[name]
            for dtype in PRECISIONS:
                columns = list(dict.fromkeys(_column(goal) for goal in case.goals))
                if case.group != group:
                    group = case.group
                    print(
                        f"\n{group}, {device}, microseconds a row\n\n| family | precision | "
                        f"{' | '.join(columns)} |"
                    )
                    print("|---" * (len(columns) + 2) + "|")
                found = cells(
                    case,
                    dtype,
                    measure(case, dtype, device, given.rows, given.rounds, given.seconds),
                )
                precision = "double" if dtype == torch.float64 else "single"
                print(
                    f"| {name} | {precision} | "
                    f"{' | '.join(str(found.get(c, '')) for c in columns)} |",
                    flush=True,
                )
                missed += [
                    f"{name}, {precision}, {device}: {c} {x}"
                    for c, x in found.items()
                    if x.is_missed
                ]
    print(f"\nMissed ({len(missed)}):" if missed else "\nNone is missed.", *missed, sep="\n- ")


if __name__ == "__main__":
    main()
