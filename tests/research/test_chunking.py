"""Documents are cut under their headings, and nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.research.chunking import Chunk, chunks_of, title_of
from domain.research.ranking import fused
from tests.factories.research import RISK, STRATEGIES, demo_text


def test_parts_stand_under_all_their_headings() -> None:
    text = "Before.\n# A\nOne.\n### C\nTwo.\n## B ##\nThree.\n# D\n"
    assert chunks_of(text) == [
        Chunk("", "Before."),
        Chunk("A", "One."),
        Chunk("A > C", "Two."),
        Chunk("A > B", "Three."),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# A\n```\n# no heading\n```\nafter",
        "# A\n~~~python\n# no heading\n```\n# nor this\n~~~\nafter",
        "# A\n````\n```\n# no heading\n````\nafter",
    ],
)
def test_lines_inside_code_are_no_headings(text: str) -> None:
    (chunk,) = chunks_of(text)
    assert chunk == Chunk("A", text.removeprefix("# A\n"))


@pytest.mark.parametrize("line", ["#no space", "####### seven", "text # not at the start"])
def test_what_only_looks_like_a_heading_is_text(line: str) -> None:
    assert chunks_of(line) == [Chunk("", line)]


def test_a_long_section_is_cut_between_paragraphs_and_then_between_words() -> None:
    text = "# A\n" + "\n\n".join(["one two three"] * 4 + ["word " * 12])
    chunks = chunks_of(text, longest=30)
    assert {chunk.heading for chunk in chunks} == {"A"}
    assert max(len(chunk.content) for chunk in chunks) <= 30
    assert chunks[0].content == "one two three\n\none two three"


def test_a_word_longer_than_a_part_is_cut() -> None:
    assert [chunk.content for chunk in chunks_of("x" * 25, longest=10)] == [
        "x" * 10,
        "x" * 10,
        "x" * 5,
    ]


@pytest.mark.parametrize("name", [STRATEGIES, RISK])
def test_real_documents_are_cut_into_parts_of_a_useful_size(name: str) -> None:
    chunks = chunks_of(demo_text(name))
    assert len(chunks) >= 7
    assert all(chunk.heading for chunk in chunks)
    assert 100 < sum(len(chunk.content) for chunk in chunks) / len(chunks) < 1_600


def test_the_title_is_the_first_heading() -> None:
    assert title_of("\nintro\n## Risk ##\n# Other") == "Risk"
    assert title_of("no heading") is None


LINE = st.one_of(
    st.sampled_from(["```", "~~~", "````", "", "- item", "    code", "> quote"]),
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="#"), max_size=60
    ),
)
PLAIN = st.text("abc .-", max_size=40)


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(st.lists(LINE, max_size=30), st.integers(min_value=10, max_value=200))
def test_no_character_is_lost_or_moved(lines: list[str], longest: int) -> None:
    chunks = chunks_of("\n".join(lines), longest=longest)
    assert all(len(chunk.content) <= longest and chunk.content.strip() for chunk in chunks)
    assert squeezed("".join(chunk.content for chunk in chunks)) == squeezed("".join(lines))


@given(st.lists(st.tuples(st.sampled_from("ABCDE"), st.lists(PLAIN, max_size=5)), max_size=8))
def test_every_line_stays_under_its_heading(sections: list[tuple[str, list[str]]]) -> None:
    text = "\n".join(f"# {name}\n" + "\n".join(body) for name, body in sections)
    expected = [(name, squeezed("".join(body))) for name, body in sections if "".join(body).strip()]
    found = [(chunk.heading, squeezed(chunk.content)) for chunk in chunks_of(text)]
    assert found == expected


RANKINGS = st.lists(st.lists(st.integers(0, 20), unique=True, max_size=15), max_size=4)


@given(RANKINGS)
def test_fusion_knows_every_item_once_and_scores_by_its_formula(rankings: list[list[int]]) -> None:
    result = fused(rankings)
    assert {item for item, _ in result} == {item for ranking in rankings for item in ranking}
    assert len(result) == len(dict(result))
    assert [score for _, score in result] == sorted((s for _, s in result), reverse=True)
    for item, score in result:
        expected = sum(1 / (61 + ranking.index(item)) for ranking in rankings if item in ranking)
        assert score == pytest.approx(expected)


@given(st.lists(st.integers(0, 20), unique=True))
def test_one_ranking_stays_as_it_is(ranking: list[int]) -> None:
    assert [item for item, _ in fused([ranking])] == ranking
