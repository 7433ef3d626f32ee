"""Files that are written from what the families declare are those of the present families."""

import importlib
import pkgutil

import pytest

import disthead as dh
from benchmarks import formulas, tables


@pytest.mark.parametrize(
    "path", [tables.README, tables.NAMES, formulas.FILE], ids=lambda path: path.name
)
def test_written_tables_are_current(path):
    assert path.read_text("utf-8") == tables.FILES[path](), "renew them: make tables"


def test_every_family_is_found_by_its_file():
    """None is missing from the package, whose files nobody lists."""
    for file in pkgutil.iter_modules(dh.families.__path__):
        module = importlib.import_module(f"disthead.families.{file.name}")
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, dh.Family | dh.Distribution):
                assert getattr(dh.families, name) is value
    for name in dh.families():
        kind = type(dh.explanation.example(name))
        assert getattr(dh.families, kind.__name__) is kind


def test_the_package_of_families_is_also_the_list_of_their_names():
    import disthead.families.gamma as module
    from disthead import families

    assert module.Gamma is families.Gamma
    assert families() == families.families() == dh.families()


def test_families_of_the_figure_come_first_by_its_rows():
    rows = [type(dh.explanation.example(name)).__dict__.get("figure_row") for name in dh.families()]
    own = [row for row in rows if row is not None]
    assert own == sorted(own)
    assert set(own) == set(range(1, 12))  # figure 5.11 has eleven rows
    assert rows[len(own) :] == [None] * (len(rows) - len(own))
    assert dh.families()[len(own) :] == sorted(dh.families()[len(own) :])
