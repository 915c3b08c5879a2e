"""What a flame graph shows of collapsed stacks."""

import xml.etree.ElementTree as ET

from suite.flames import draw, grow, trunk_end

STACKS = """
run (asyncio/runners.py:118);submit (phoenix/jobs/submit.py:9);execute (sqlalchemy/a.py:1);compile (sqlalchemy/b.py:2) 6
run (asyncio/runners.py:118);submit (phoenix/jobs/submit.py:12);dump (pydantic/main.py:3) 2
run (asyncio/runners.py:118);view (phoenix/api/views.py:4) 2
run (asyncio/runners.py:118);select (selectors.py:468) 90
""".strip()


def test_functions_of_another_package_that_call_each_other_are_one_box() -> None:
    submit = grow(STACKS).callees["asyncio"].callees["submit (jobs/submit.py)"]

    assert {name: (box.samples, box.callees) for name, box in submit.callees.items()} == {
        "sqlalchemy": (6, {}),
        "pydantic": (2, {}),
    }


def test_the_lines_of_a_function_count_together() -> None:
    assert grow(STACKS).callees["asyncio"].callees["submit (jobs/submit.py)"].samples == 8


def test_a_thread_that_waits_is_not_drawn() -> None:
    assert grow(STACKS).samples == 10


def test_the_graph_begins_where_the_stacks_part() -> None:
    assert trunk_end(grow(STACKS)).name == "asyncio"


def test_the_picture_has_each_share_as_a_title() -> None:
    picture = ET.fromstring(draw(STACKS, "a & b"))

    titles = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "asyncio: 100.0%",
        "submit (jobs/submit.py): 80.0%",
        "sqlalchemy: 60.0%",
        "pydantic: 20.0%",
        "view (api/views.py): 20.0%",
    ]
    assert picture.attrib["aria-label"] == "a & b"


def test_no_box_is_outside_the_picture() -> None:
    picture = ET.fromstring(draw(STACKS, ""))
    width, height = (float(side) for side in picture.attrib["viewBox"].split()[2:])

    for box in picture.iter("{http://www.w3.org/2000/svg}rect"):
        place = {name: float(box.attrib.get(name, 0)) for name in ("x", "y", "width", "height")}
        assert place["x"] + place["width"] <= width
        assert place["y"] + place["height"] <= height


def test_without_samples_there_is_an_empty_picture() -> None:
    assert ET.fromstring(draw("", "nothing")).attrib["aria-label"] == "nothing"
