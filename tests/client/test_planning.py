"""Planning as a statistician calls it: tables, and figures that draw the numbers of the functions."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from isthmus_client import planning
from isthmus_methods import planning as functions


def test_client_hands_on_every_function() -> None:
    assert set(functions.__all__) < set(planning.__all__)
    assert all(getattr(planning, name) is getattr(functions, name) for name in functions.__all__)


def test_tables_have_a_row_for_each_look_option_and_point() -> None:
    assert list(planning.table(planning.design([0.5, 1.0])).index) == [1, 2]
    assert "z_symmetric_two_sided_joint" in planning.table(planning.design([0.5, 1.0], alpha=0.05, sides=2))
    endpoint = planning.continuous(0.3, 1.0)
    options = planning.table(planning.options(endpoint, {"A": 1, "B": 3}, "A"))
    assert list(options.index) == ["proportional", "equal", "preservation of effect", "local significance"]
    curve = planning.table(planning.size_curve(endpoint, [100, 200], [0.2]))
    assert curve["method 1 at 0.2 conditional"].is_monotonic_increasing
    assert len(planning.table(planning.fraction_curve(planning.Trial.powered(power=0.9)))) == 99


def drawings() -> list[tuple[str, Figure]]:
    long = "a trial with a very long name: twelve countries, three regions, two doses & $1 of placebo"
    strong = planning.Trial.powered(power=0.9)
    two = planning.design([0.2, 0.6, 1], alpha=0.05, sides=2, spending=planning.hwang_shih_decani(-4))
    return [
        ("one trial", planning.fraction_figure(strong)),
        ("two trials", planning.fraction_figure({long: strong, "weak": planning.Trial(0.4, 1.0)}, target=0.9)),
        ("sizes", planning.size_figure(planning.risk_difference(0.6, 0.4), range(20, 400, 20), [0.1, 1 / 3])),
        ("bounds", planning.bounds_figure([two, planning.design([0.5, 1])])),
    ]


@pytest.mark.parametrize(("name", "figure"), drawings(), ids=lambda value: value if isinstance(value, str) else "")
def test_no_text_of_a_figure_is_cut_off(name: str, figure: Figure) -> None:
    figure.canvas.draw()
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
            assert inside, f"{name}: {text.get_text()!r}"


def test_curve_drawn_is_method_1_and_its_mark_is_the_share_needed() -> None:
    trial = planning.Trial.powered(power=0.8)
    unconditional, given, mark = planning.fraction_figure(trial).axes[0].lines[:3]
    np.testing.assert_allclose(unconditional.get_ydata()[9], planning.method_1(0.1, trial).unconditional)
    np.testing.assert_allclose(given.get_ydata()[9], planning.method_1(0.1, trial).conditional)
    assert f"{mark.get_xdata()[0]:.4f}" == "0.2841"
