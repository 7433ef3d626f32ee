"""The report as one HTML file without external parts, with each sentence beside its picture."""

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from disthead.report.pictures import Drawn
from disthead.report.result import Evaluation
from disthead.report.verdict import Status, Verdict
from disthead.texts import shown

__all__ = ["page"]

# the sign and the meaning of each status, the worst first
STATUS: dict[Status, tuple[str, str]] = {
    "poor": ("✗", "a clear fault"),
    "fair": ("~", "a slight fault"),
    "unclear": ("?", "too few rows to tell"),
    "good": ("✓", "no fault found"),
    "note": ("i", "for information"),
    "not examined": ("–", "not examined"),
}
_ORDER = list(STATUS)
_ATTENTION = ("poor", "fair", "unclear")


def _text(text: object) -> str:
    """A text for the page or for an attribute, with markup escaped."""
    return escape(shown(text))


def page(evaluation: Evaluation, drawn: dict[str, list[Drawn]]) -> str:
    """The report as HTML: an overview, faults and doubts, and the rest folded away.

    Args:
        evaluation: the result of `evaluate`.
        drawn: the pictures of each output.
    """
    body = [_head(evaluation)]
    for name in evaluation.outputs:
        verdicts = [verdict for verdict in evaluation.verdicts if verdict.output == name]
        body.append(_output(name, verdicts, evaluation.scores[name], drawn.get(name, [])))
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(evaluation.title)}</title><style>{style}</style></head><body>",
            *body,
            _PRINT,
            "</body></html>",
        ]
    )


# Printed pages show what is folded away.
_PRINT = """<script>
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach(part => part.open = true);
});
</script>"""


def _head(evaluation: Evaluation) -> str:
    facts = {"rows": f"{evaluation.rows:,}"} | dict(evaluation.about)
    about = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items()
    )
    counts = {status: sum(v.status == status for v in evaluation.verdicts) for status in STATUS}
    tiles = "".join(
        f'<li class="{_class(status)}">{_mark(status)}<b>{count}</b> '
        f"{_text(STATUS[status][1])}</li>"
        for status, count in counts.items()
        if count
    )
    return (
        f"<header><h1>{_text(evaluation.title)}</h1><dl>{about}</dl>"
        f'<p class="summary">{_text(evaluation.summary)}</p><ul class="tiles">{tiles}</ul></header>'
    )


def _output(name: str, verdicts: Sequence[Verdict], scores: dict, drawn: Sequence[Drawn]) -> str:
    faults = {verdict.picture for verdict in verdicts if verdict.status in _ATTENTION}
    overview = next(
        (one for one in drawn if one.picture.is_overview and one.picture.key not in faults), None
    )
    cards = _cards(verdicts, [one for one in drawn if one is not overview])
    attention = [card for card in cards if card[0] in _ATTENTION]
    good = [card for card in cards if card[0] == "good"]
    notes = [card for card in cards if card[0] == "note"]
    not_examined = [card for card in cards if card[0] == "not examined"]
    parts = [
        f"<h2>{_text(name)}</h2>" if name else "",
        '<section class="overview">',
        _scores(scores),
    ]
    parts += ["" if overview is None else _figure(overview, is_wide=True), "</section>"]
    if attention:
        parts += ["<h3>What needs a look</h3>", _grid(attention)]
    elif verdicts:
        parts.append('<p class="calm">Nothing of what was examined needs a look.</p>')
    parts += [
        _folded("No fault found", good),
        _folded("For information", notes),
        _folded("Not examined", not_examined),
    ]
    return "\n".join(filter(None, parts))


Card = tuple[Status, Drawn | None, list[Verdict]]


def _cards(verdicts: Sequence[Verdict], drawn: Sequence[Drawn]) -> list[Card]:
    """A card for each picture with its verdicts, and for each other verdict, the worst first."""
    cards: list[Card] = []
    for one in drawn:
        own_verdicts = sorted((v for v in verdicts if v.picture == one.picture.key), key=_rank)
        cards.append((own_verdicts[0].status if own_verdicts else "note", one, own_verdicts))
    keys = {one.picture.key for one in drawn}
    cards += [
        (verdict.status, None, [verdict]) for verdict in verdicts if verdict.picture not in keys
    ]
    return sorted(cards, key=lambda card: (_ORDER.index(card[0]), card[1] is None))


def _rank(verdict: Verdict) -> int:
    return _ORDER.index(verdict.status)


def _grid(cards: Sequence[Card]) -> str:
    return f'<div class="grid">{"".join(map(_card, cards))}</div>'


def _folded(title: str, cards: Sequence[Card]) -> str:
    if not cards:
        return ""
    count = sum(max(1, len(verdicts)) for _, _, verdicts in cards)
    return (
        f"<details><summary>{_text(title)} <span>({count})</span></summary>{_grid(cards)}</details>"
    )


def _card(card: Card) -> str:
    status, picture, verdicts = card
    wide = " wide" if picture is not None and picture.picture.is_wide else ""
    sentences = "".join(map(_verdict, verdicts))
    remedies = dict.fromkeys(
        verdict.remedy for verdict in verdicts if verdict.remedy and verdict.status != "good"
    )
    steps = "".join(f'<p class="next"><b>Next:</b> {_marked(remedy)}</p>' for remedy in remedies)
    figure = "" if picture is None else _figure(picture)
    return f'<article class="card {_class(status)}{wide}">{sentences}{steps}{figure}</article>'


def _verdict(verdict: Verdict) -> str:
    return (
        f'<div class="verdict {_class(verdict.status)}">{_mark(verdict.status)}'
        f"<p><b>{_text(_headed(verdict.aspect))}</b> {_text(verdict.sentence)}</p></div>"
    )


def _scores(scores: dict) -> str:
    if not scores:
        return ""
    rows = "".join(
        f'<tr><td>{_text(label)}</td><td class="number">{_text(score)}</td></tr>'
        for label, score in scores.items()
    )
    return (
        '<div class="card"><table><caption>Scores, mean ± standard '
        f"error</caption>{rows}</table></div>"
    )


def _figure(picture: Drawn, is_wide: bool = False) -> str:
    data = base64.b64encode(picture.png).decode()
    figure = (
        f'<figure><img alt="{_text(picture.caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{_text(picture.caption)}</figcaption></figure>"
    )
    return f'<article class="card wide">{figure}</article>' if is_wide else figure


def _mark(status: Status) -> str:
    sign, text = STATUS[status]
    return f'<span class="mark" role="img" title="{text}" aria-label="{text}">{sign}</span>'


def _marked(text: str) -> str:
    """The text, with the parts between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _class(status: Status) -> str:
    return status.replace(" ", "-")


def _headed(aspect: str) -> str:
    """The aspect as the head of its sentence, with one punctuation mark at its end."""
    return _first_upper(aspect) + "." * (not aspect.endswith("?"))


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
