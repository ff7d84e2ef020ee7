"""The text that Prometheus reads: whatever is counted and however it is called, it can be read back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.metrics import Family, Histogram, Sample, counter, gauge, labelled, number, render
from tests.exposition import read


def test_a_page() -> None:
    page = render(
        [
            gauge("level", "How high.", 0.5),
            labelled("seen_total", "counter", "How often.", "who", [("a", 3), ("b", None), ("c", 2**60)]),
        ]
    )
    assert page == (
        b"# HELP level How high.\n# TYPE level gauge\nlevel 0.5\n"
        b'# HELP seen_total How often.\n# TYPE seen_total counter\nseen_total{who="a"} 3\nseen_total{who="c"} '
        b"1.152921504606847e+18\n"
    )


def test_a_histogram_counts_up_to_and_with_its_bounds() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.0, 0.1, 0.2, 1.0, 1.5, 100.0):
        histogram.observe(value)
    family = read(render([labelled("took_seconds", "histogram", "Time.", "who", [("x", histogram)])]).decode())[
        "took_seconds"
    ]
    assert [value for (name, _), value in family.series.items() if name == "took_seconds_bucket"] == [2, 4, 6]
    assert family.series["took_seconds_sum", frozenset({("who", "x")})] == pytest.approx(102.8)


@given(st.text(), st.text())
def test_any_text_in_a_label_and_in_a_help(label: str, help_: str) -> None:
    label = label.encode(errors="replace").decode()  # lone surrogates are no text
    help_ = "x" + help_.encode(errors="replace").decode()
    family = read(render([Family("a_total", "counter", help_, [Sample(1, {"l": label})])]).decode())["a_total"]
    assert family.value(l=label) == 1
    assert family.help == help_.replace("\\", r"\\").replace("\n", r"\n")


@given(st.floats() | st.integers(-(2**70), 2**70))
def test_any_number(value: float) -> None:
    back = float(number(value))
    assert back == float(value) or (math.isnan(back) and math.isnan(value))


@given(st.lists(st.floats(-10, 10), max_size=50))
def test_any_observations(values: list[float]) -> None:
    histogram = Histogram((-1.0, 0.0, 2.5))
    for value in values:
        histogram.observe(value)
    page = render([labelled("h", "histogram", "H.", "l", [("", histogram)])]).decode()
    assert read(page)["h"].series["h_count", frozenset({("l", "")})] == len(values)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "é", "a\n"])
def test_a_bad_name_is_a_fault(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        render([counter(name, "x", 1)])
    with pytest.raises(ValueError, match="not a name"):
        render([Family("a", "gauge", "x", [Sample(1, {name: "x"})])])


@pytest.mark.parametrize(
    "text",
    [
        "a 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\na 2\n",
        '# HELP a x\n# TYPE a gauge\na{l="1} 1\n',
        '# HELP a x\n# TYPE a gauge\na{l="1",l="2"} 1\n',
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
        '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    ],
)
def test_the_checker_sees_what_is_wrong(text: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        read(text)
