"""The atlas of losses: an entry for every objective and divergence, whole sentences, names that
exist, a page and pictures that are current.
"""

import collections
import dataclasses
import importlib
import inspect
import math
import pkgutil
import re

import matplotlib
import pytest
import torch
from torch.nn import functional

import disthead as dh
from benchmarks import atlas as page
from benchmarks.same_loss import GROUPS
from disthead import LINKS, atlas, divergences, explanation, objectives
from disthead.atlas import losses
from disthead.cli import main
from disthead.plots import loss_curve

matplotlib.use("Agg")
import matplotlib.pyplot as plt

every_loss = pytest.mark.parametrize("loss", losses().values(), ids=lambda loss: loss.name)
PROSE = (
    "assumption",
    "family",
    "estimated",
    "gradient",
    "robustness",
    "calibration",
    "breaks",
    "remedy",
)


def test_every_objective_and_every_divergence_is_described():
    callable_ones = {*objectives.names(), *divergences.NAMES}
    assert callable_ones <= set(losses())
    for name in set(losses()) - callable_ones:  # such as a parametrisation of a family
        assert "no objective" in losses()[name].assumption, name


def test_no_name_leads_to_two_losses():
    files = [
        importlib.import_module(f"disthead.atlas.{file.name}")
        for file in pkgutil.iter_modules(atlas.__path__)
    ]
    described = [loss for file in files for loss in getattr(file, "LOSSES", ())]
    assert len(described) == len(losses())
    led = collections.defaultdict(set)
    for loss in described:
        for name in (loss.name, *loss.synonyms):
            led[atlas.plain(name)].add(loss.name)
    assert {name: to for name, to in led.items() if len(to) > 1} == {}


@every_loss
def test_texts_are_whole_sentences(loss):
    for name in PROSE:
        text = getattr(loss, name)
        assert text or name == "family", f"{name} is empty"
        assert not text or re.search(r"[\w)\]'\"`]\.$", text), f"{name}: {text}"
        assert text == " ".join(text.split()), f"{name}: spaces"
    assert loss.formula
    assert loss.axis in ("residual", "margin", "")
    assert all(name == name.strip() != "" for name in loss.synonyms)


def known_names() -> set[str]:
    """The names that advice may use: of losses, families, links, and their parameters, options and
    methods.
    """
    known = {*losses(), *dh.families(), *LINKS, *inspect.signature(torch.optim.AdamW).parameters}
    for name in dh.families():
        family = explanation.example(name)
        known |= {*family.parameters, *family.row_constants}
        known |= {*inspect.signature(type(family)).parameters}
    for name in objectives.names():
        objective = getattr(objectives, name)
        known |= {*inspect.signature(objective).parameters, *vars(objective)}
    return known


KNOWN = known_names()


def exists(name: str) -> bool:
    """Whether a name in backticks exists: with arguments or assigned options, and as an attribute
    of this library, of a distribution, or of torch.
    """
    name = re.sub(r"\(.*|=.*", "", name).strip()
    if name in KNOWN:
        return True
    *path, last = name.split(".")
    homes = {
        "": [dh, objectives, dh.losses, dh.Distribution],
        "dh": [dh],
        "disthead": [dh],
        "dist": [dh.Distribution],
        "torch": [torch],
        "functional": [functional],
        "objectives": [objectives],
        "dh.objectives": [objectives],
        "disthead.objectives": [objectives],
        "torch.nn.functional": [functional],
        "torch.distributions": [torch.distributions],
    }
    return any(hasattr(home, last) for home in homes.get(".".join(path), []))


@every_loss
def test_advice_names_what_exists(loss):
    for text in (getattr(loss, name) for name in PROSE):
        for quoted in re.findall(r"`([^`]+)`", text):
            command = re.fullmatch(r"disthead (\w+).*", quoted)
            assert command or exists(quoted), f"{quoted} in: {text}"
    for text in (loss.family, loss.breaks, loss.remedy):
        plain_text = re.sub(r"`[^`]+`", "", text)
        for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", plain_text):
            assert word in KNOWN or exists(word), f"{word} in: {text}"


@every_loss
def test_calls_of_pytorch_exist(loss):
    called = re.sub(r"(?<![.\w])functional\.", "torch.nn.functional.", loss.pytorch)
    for path in re.findall(r"(?<![.\w])torch(?:\.\w+)+", called):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def test_losses_are_found_by_their_synonyms():
    assert atlas.find("Log-Score").name == atlas.find("negative_log_likelihood").name == "nll"
    assert atlas.find("Kullback Leibler Divergence").name == "kl"
    assert atlas.find("normal") is None
    for loss in losses().values():
        for name in (loss.name, *loss.synonyms):
            assert atlas.find(name) == loss


@pytest.mark.parametrize(
    "names, ours",
    [
        (("MSELoss", "mse_loss"), "mse"),
        (("L1Loss", "l1_loss"), "mae"),
        (("SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss"), "huber"),
        (("CrossEntropyLoss", "cross_entropy"), "cross_entropy"),
        (("NLLLoss", "nll_loss", "GaussianNLLLoss", "gaussian_nll_loss"), "nll"),
        (("PoissonNLLLoss", "poisson_nll_loss"), "poisson_deviance"),
        (("BCELoss", "binary_cross_entropy"), "bce"),
        (("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"), "bce"),
        (("SoftMarginLoss", "soft_margin_loss"), "bce"),
        (("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"), "multilabel_bce"),
        (("MultiMarginLoss", "multi_margin_loss"), "multiclass_hinge"),
        (("KLDivLoss", "kl_div"), "kl"),
        (("CTCLoss", "ctc_loss"), "ctc"),
        (("CosineEmbeddingLoss", "cosine_embedding_loss"), "cosine_embedding"),
        (("TripletMarginLoss", "triplet_margin_loss"), "triplet"),
    ],
)
def test_pytorchs_losses_are_found_by_their_names(names, ours):
    for name in names:
        assert hasattr(torch.nn, name) or hasattr(functional, name)
        assert atlas.find(name).name == ours


def test_explain_shows_losses_families_or_both(monkeypatch):
    family, loss = dh.explain("normal"), dh.explain("log score")
    assert family.startswith("normal\n  use ")
    assert loss.startswith("nll (loss)\n  kind        likelihood\n")
    assert loss == dh.explain("nll") == explanation.explain_loss("nll")
    described = dataclasses.replace(losses()["crps"], synonyms=("Normal",))
    monkeypatch.setattr(atlas, "losses", lambda: {"crps": described})
    both = dh.explain("normal")
    assert both.startswith(family)
    assert both.removeprefix(family).startswith("\n\ncrps (loss)\n")


@every_loss
def test_pages_show_every_text(loss):
    printed = " ".join(explanation.explain_loss(loss.name).split())
    for text in explanation.texts_of_loss(loss).values():
        assert " ".join(text.split()) in printed
    objective = getattr(objectives, loss.name, None)
    if isinstance(objective, type):
        for option in inspect.signature(objective).parameters:
            assert re.search(rf"\b{option}: \w", printed), option
    assert max(map(len, explanation.explain_loss(loss.name).splitlines())) <= 100


def test_unknown_names_propose_families_and_losses():
    with pytest.raises(ValueError, match=r"unknown family or loss 'crsp'; did you mean 'crps'\?"):
        dh.explain("crsp")
    with pytest.raises(ValueError, match=r"unknown family or loss 'poison'; did you mean 'poisson"):
        dh.explain("poison")
    # a family and a loss, named once
    with pytest.raises(ValueError, match=r"did you mean 'huber'(\?| or '(?!huber'))"):
        dh.explain("hubr")
    with pytest.raises(ValueError, match="cannot be imported"):
        dh.explain("nowhere.Mine")
    with pytest.raises(ValueError, match=r"unknown loss 'normal'.*disthead losses"):
        explanation.explain_loss("normal")


def test_the_command_prints_the_table_and_pages(capsys):
    assert main(["losses"]) == 0
    printed = capsys.readouterr().out
    for loss in losses().values():
        assert re.search(rf"^{loss.name}\s+{loss.kind}\s+\S", printed, re.MULTILINE)
    assert main(["losses", "crps"]) == main(["explain", "crps"]) == 0
    assert capsys.readouterr().out == 2 * f"{explanation.explain_loss('crps')}\n"


def test_the_page_is_current():
    assert page.PAGE.read_text("utf-8") == page.text(), "renew it: make tables"


def test_every_loss_with_an_axis_has_its_picture():
    drawn = {loss.name for loss in losses().values() if loss.axis}
    kept = {path.stem for path in page.PICTURES.glob("*.svg")}
    assert kept == drawn, "renew them: python -m benchmarks.atlas"


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.title)
def test_one_loss_under_several_names_is_one_number(group):
    names = {
        "torch": torch,
        "functional": functional,
        "math": math,
        "dh": dh,
        "loss": dh.losses.loss,
    }
    for other in GROUPS:  # a group may use what those before it define
        exec(other.setup, names)
        if other is group:
            break
    calls = [call for row in group.rows for call in (row.ours, row.pytorch)]
    values = [eval(call, names) for call in calls]
    for call, value in zip(calls, values, strict=True):
        torch.testing.assert_close(value, values[0], msg=lambda said, call=call: f"{call}: {said}")


DRAWN = [loss for loss in losses().values() if loss.axis]


@pytest.mark.parametrize("loss", DRAWN, ids=lambda loss: loss.name)
def test_pictures_show_the_loss_and_its_slope(loss):
    figure, (left, right) = plt.subplots(1, 2)
    objective = objectives.get_objective(loss.name, **loss.drawn_with)
    assert loss_curve(left, objective, loss.axis) is left
    loss_curve(right, objective, loss.axis, gradient=True)
    (ours, likelihood), (slope, _) = left.lines, right.lines
    x, y = (torch.as_tensor(part).double() for part in ours.get_data())
    assert [ours.get_label(), likelihood.get_label()] == [loss.name, "nll"]
    risen = torch.trapezoid(torch.as_tensor(slope.get_ydata()).double(), x)
    torch.testing.assert_close(risen, y[-1] - y[0], rtol=0.01, atol=0.02)
    for ax in (left, right):
        assert loss.axis in ax.get_xlabel()
    plt.close(figure)


def only_of_categorical(dist, y):
    if dist.kind == "binary":
        raise NotImplementedError("Bernoulli has no such score.")
    return dist.crps(y)


def test_what_cannot_be_drawn_says_so():
    ax = plt.figure().add_subplot()
    with pytest.raises(ValueError, match="unknown axis 'margn'; did you mean 'margin'"):
        loss_curve(ax, "nll", "margn")
    with pytest.raises(NotImplementedError, match="Categorical has no crps"):
        loss_curve(ax, only_of_categorical, "margin")
    plt.close("all")
