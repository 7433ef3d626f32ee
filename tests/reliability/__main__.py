"""Every attack with all of its trials; writes the table into docs/reliability.md.

python -m tests.reliability [NAME ...]      only attacks whose name holds one of these; then nothing
is written
"""

import sys
import tempfile
import time
from pathlib import Path

from .attack import Outcome, attacks, count

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
START, END = "<!-- table: python -m tests.reliability -->", "<!-- end of the table -->"


def main() -> None:
    names = sys.argv[1:]
    rows = [
        "| attack | tried | clear error | harmless | silent | traceback |",
        "|---|---|---|---|---|---|",
    ]
    for attack in attacks():
        if names and not any(name in attack.name for name in names):
            continue
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            outcomes, defects = count(attack, range(attack.trials), Path(folder))
        cells = [attack.name, str(attack.trials), *(str(outcomes[outcome]) for outcome in Outcome)]
        rows.append(f"| {' | '.join(cells)} |")
        print(
            rows[-1],
            f"({time.perf_counter() - start:.0f} s)",
            f"defects: {defects}" * bool(defects),
            flush=True,
        )
    if not names:
        before, _, rest = PAGE.read_text("utf-8").partition(START)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{START}\n\n" + "\n".join(rows) + f"\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
