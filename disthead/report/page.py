"""The report as one HTML file, with nothing outside it."""

import base64
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from disthead.report.evaluation import Evaluation
    from disthead.report.pictures import Picture

__all__ = ["page"]

STATUS = {
    "poor": ("✗", "a clear fault"),
    "fair": ("~", "a slight fault"),
    "unclear": ("?", "too few rows to tell"),
    "good": ("✓", "in order"),
    "note": ("i", "for information"),
    "not examined": ("–", "not examined"),
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1060px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.6em; } h2 { margin-top: 2em; border-bottom: 1px solid #ccc; } h3 { margin-bottom: .3em; }
ul.verdicts { list-style: none; padding: 0; } ul.verdicts li { margin: .5em 0; padding-left: 2.2em; position: relative; }
.mark { position: absolute; left: 0; width: 1.5em; height: 1.5em; line-height: 1.5em; text-align: center;
  border-radius: 50%; color: #fff; font-weight: bold; }
.good .mark { background: #009E73; } .fair .mark { background: #B87D00; } .poor .mark { background: #D55E00; }
.unclear .mark { background: #777; } .note .mark { background: #0072B2; }
.not-examined .mark { background: #999; }
table { border-collapse: collapse; } td, th { padding: .25em 1.2em .25em 0; text-align: left; border-bottom: 1px solid #eee; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5em; } figure { margin: 0; max-width: 500px; }
figure.wide { max-width: 800px; } img { width: 100%; } figcaption { color: #555; font-size: .9em; }
.legend { color: #555; font-size: .9em; }
"""


def page(evaluation: "Evaluation", drawn: "dict[str, list[Picture]]") -> str:
    """The whole report, worst news first."""
    order = list(STATUS)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(evaluation.title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(evaluation.title)}</h1>",
        f"<p>{evaluation.rows:,} rows. {escape(evaluation.summary)}</p>",
        f'<p class="legend">{" · ".join(f"{mark} {text}" for mark, text in STATUS.values())}</p>',
    ]
    for name in evaluation.outputs:
        parts.append(f"<h2>{escape(name)}</h2>" if name else "")
        mine = [verdict for verdict in evaluation.verdicts if verdict.output == name]
        parts.append('<ul class="verdicts">')
        for verdict in sorted(mine, key=lambda verdict: order.index(verdict.status)):
            mark, text = STATUS[verdict.status]
            parts.append(
                f'<li class="{verdict.status.replace(" ", "-")}"><span class="mark" title="{text}" aria-label="{text}">{mark}</span>'
                f"<b>{escape(_first_upper(verdict.aspect))}.</b> {escape(verdict.sentence)}</li>"
            )
        parts.append("</ul>")
        rows = "".join(
            f'<tr><td>{escape(label)}</td><td class="number">{escape(str(score))}</td></tr>'
            for label, score in evaluation.scores[name].items()
        )
        if rows:
            parts.append(f"<h3>Scores, mean ± standard error</h3><table>{rows}</table>")
        if drawn.get(name):
            parts.append('<h3>Pictures</h3><div class="pictures">')
            parts += [_figure(picture) for picture in drawn[name]]
            parts.append("</div>")
    parts.append("</body></html>")
    return "\n".join(part for part in parts if part)


def _figure(picture: "Picture") -> str:
    data = base64.b64encode(picture.png).decode()
    wide = ' class="wide"' if picture.name.endswith(("rows", "worms")) else ""
    return (
        f'<figure{wide}><img alt="{escape(picture.caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
