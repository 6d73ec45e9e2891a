"""Documents come in whole, and are found by words, by meaning and by both."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from domain import Database
from domain.errors import AccessDenied, InvalidData, Unavailable
from domain.research.embedding import Embedder, declare_embedding_index, embedded
from domain.research.ingesting import Ingested, ingest_document, remove_document
from domain.research.models import KnowledgeChunk
from domain.research.searching import search_knowledge, search_semantic, search_text
from domain.storage import Storage
from tests.factories.identity import make_user
from tests.factories.research import RISK, STRATEGIES, BagOfWords, demo_text

STRATEGIES_PATH, RISK_PATH = STRATEGIES.removeprefix("knowledge/"), RISK.removeprefix("knowledge/")


@pytest.fixture
def storage() -> Storage:
    return Storage("memory:")


async def ingest(
    db: Database,
    storage: Storage,
    path: str,
    content: str | bytes,
    embedder: Embedder | None = None,
) -> Ingested:
    async with storage.staged() as staged, db.transaction(staff="librarian") as unit:
        return await ingest_document(unit, staged, path, content, embedder=embedder)


async def fill(db: Database, storage: Storage, embedder: Embedder | None = None) -> None:
    for path, name in ((STRATEGIES_PATH, STRATEGIES), (RISK_PATH, RISK)):
        await ingest(db, storage, path, demo_text(name), embedder)


async def test_a_document_is_kept_as_bytes_as_a_row_and_in_parts(
    db: Database, storage: Storage
) -> None:
    result = await ingest(db, storage, STRATEGIES_PATH, demo_text(STRATEGIES), BagOfWords())
    assert result.is_changed
    assert await storage.get_knowledge_doc(STRATEGIES_PATH) == demo_text(STRATEGIES)
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
    async with db.read(user=user.id) as unit:
        document = await unit.knowledge_documents.at(STRATEGIES_PATH)
        assert document is not None
        chunks = await unit.knowledge_chunks.of(document.id)
        assert [item.path for item in await unit.knowledge_documents.under("options/")] == [
            STRATEGIES_PATH
        ]
        assert await unit.knowledge_documents.under("opt%") == []
    assert (document.title, document.object_key) == ("Option strategies", STRATEGIES)
    assert len(chunks) == result.chunks
    assert [chunk.ordinal for chunk in chunks] == list(range(result.chunks))
    assert "Option strategies > Vertical spreads > Bull put spread" in [c.heading for c in chunks]
    assert {chunk.embedding_model for chunk in chunks} == {"bag-of-words"}


async def test_the_same_document_again_does_nothing(db: Database, storage: Storage) -> None:
    embedder = BagOfWords()
    first = await ingest(db, storage, RISK_PATH, demo_text(RISK), embedder)
    asked = len(embedder.asked)
    async with db.read(staff="test") as unit:
        before = [chunk.id for chunk in await unit.knowledge_chunks.of(first.document.id)]
    again = await ingest(db, storage, RISK_PATH, demo_text(RISK), embedder)
    assert (again.is_changed, again.chunks) == (False, first.chunks)
    assert not (await ingest(db, storage, RISK_PATH, demo_text(RISK))).is_changed
    assert len(embedder.asked) == asked
    async with db.read(staff="test") as unit:
        assert [chunk.id for chunk in await unit.knowledge_chunks.of(first.document.id)] == before


async def test_another_model_embeds_the_same_document_anew(db: Database, storage: Storage) -> None:
    await ingest(db, storage, RISK_PATH, demo_text(RISK))
    assert (await ingest(db, storage, RISK_PATH, demo_text(RISK), BagOfWords())).is_changed
    other = BagOfWords(64, "smaller")
    assert (await ingest(db, storage, RISK_PATH, demo_text(RISK), other)).is_changed
    async with db.read(staff="test") as unit:
        assert await search_semantic(unit, BagOfWords(), "drawdown") == []
        assert (await search_semantic(unit, other, "drawdown"))[0].path == RISK_PATH


async def test_a_changed_document_replaces_its_parts(db: Database, storage: Storage) -> None:
    await ingest(db, storage, "a.md", "# A\nold words about margin", BagOfWords())
    changed = await ingest(db, storage, "a.md", "# B\nnew words about theta", BagOfWords())
    assert (changed.is_changed, changed.chunks, changed.document.title) == (True, 1, "B")
    async with db.read(staff="test") as unit:
        assert await search_text(unit, "margin") == []
        assert [hit.heading for hit in await search_text(unit, "theta")] == ["B"]
        assert await unit.knowledge_documents.count() == 1
    assert await storage.get_knowledge_doc("a.md") == "# B\nnew words about theta"


async def test_a_change_that_fails_leaves_bytes_row_and_parts_as_they_were(
    db: Database, storage: Storage
) -> None:
    await ingest(db, storage, "a.md", "# A\nold words", BagOfWords())
    for path in ("a.md", "b.md"):
        with pytest.raises(ZeroDivisionError):
            async with storage.staged() as staged, db.transaction(staff="librarian") as unit:
                await ingest_document(unit, staged, path, "# B\nnew", embedder=BagOfWords())
                raise ZeroDivisionError
    assert await storage.list_knowledge_docs() == ["a.md"]
    assert await storage.get_knowledge_doc("a.md") == "# A\nold words"
    async with db.read(staff="test") as unit:
        assert [hit.heading for hit in await search_text(unit, "old")] == ["A"]
        assert await unit.knowledge_chunks.count() == 1


async def test_two_who_bring_the_same_document_do_not_collide(
    db: Database, storage: Storage
) -> None:
    texts = [f"# T\nversion {number}" for number in range(4)]
    results = await asyncio.gather(*(ingest(db, storage, "a.md", item) for item in texts * 2))
    assert any(result.is_changed for result in results)
    async with db.read(staff="test") as unit:
        (chunk,) = await unit.knowledge_chunks.all()
    assert await storage.get_knowledge_doc("a.md") == f"# T\n{chunk.content}"


async def test_a_removed_document_is_gone_everywhere(db: Database, storage: Storage) -> None:
    result = await ingest(db, storage, "a.md", "# A\nwords")
    async with storage.staged() as staged, db.transaction(staff="librarian") as unit:
        document = await unit.knowledge_documents.get(result.document.id)
        await remove_document(unit, staged, document)
    assert await storage.list_knowledge_docs() == []
    async with db.read(staff="test") as unit:
        assert await unit.knowledge_chunks.count() == 0


async def test_tenants_read_knowledge_and_do_not_write_it(db: Database, storage: Storage) -> None:
    await fill(db, storage)
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
    async with db.read(user=user.id) as unit:
        assert await search_text(unit, "iron condor")
    with pytest.raises(AccessDenied):
        async with storage.staged() as staged, db.transaction(user=user.id) as unit:
            await ingest_document(unit, staged, "mine.md", "# Mine")
    assert "mine.md" not in await storage.list_knowledge_docs()


class Broken:
    """A model that answers something else than it says."""

    model, dimensions = "broken", 4

    def __init__(self, *answer: Sequence[float]) -> None:
        self.answer = answer

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return self.answer or [[1.0] * 4] * (len(texts) + 1)


@pytest.mark.parametrize(
    ("embedder", "rule"),
    [
        (Broken([1.0, 2.0, 3.0]), "4 dimensions"),
        (Broken([1.0] * 5), "4 dimensions"),
        (Broken([0.0] * 4), "not all zero"),
        (Broken([1.0, float("nan"), 0.0, 0.0]), "finite"),
        (Broken([1.0, float("inf"), 0.0, 0.0]), "finite"),
        (Broken(), "one a text"),
        (BagOfWords(0), "dimensions must lie"),
        (BagOfWords(16_001), "dimensions must lie"),
    ],
)
async def test_vectors_that_are_wrong_are_refused_and_nothing_is_written(
    db: Database, storage: Storage, embedder: Embedder, rule: str
) -> None:
    with pytest.raises(InvalidData, match=rule):
        await ingest(db, storage, "a.md", "# A\nwords", embedder)
    assert await storage.list() == []
    async with db.read(staff="test") as unit:
        assert await unit.knowledge_documents.count() == 0
        with pytest.raises(InvalidData, match=rule):
            await search_semantic(unit, embedder, "words")


async def test_a_model_keeps_its_dimensions(db: Database, storage: Storage) -> None:
    await ingest(db, storage, "a.md", "# A\nwords", BagOfWords(64))
    with pytest.raises(InvalidData, match="dimensions must be 64"):
        await ingest(db, storage, "b.md", "# B\nwords", BagOfWords(32))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a.pdf", b"%PDF"),
        ("a.md", b"\xff\xfe"),
        ("a.md", "a\x00b"),
        ("../a.md", "# A"),
        ("/a.md", "# A"),
        ("", "# A"),
        ("a.html", "<p>"),
    ],
)
async def test_what_is_no_text_at_a_usable_path_is_refused(
    db: Database, storage: Storage, path: str, content: str | bytes
) -> None:
    with pytest.raises(InvalidData):
        await ingest(db, storage, path, content)
    assert await storage.list() == []


async def test_an_unreachable_store_leaves_no_row(db: Database) -> None:
    storage = Storage("s3://desk?endpoint=http://127.0.0.1:9&region=us-east-1")
    with pytest.raises(Unavailable):
        await ingest(db, storage, "a.md", "# A\nwords")
    async with db.read(staff="test") as unit:
        assert await unit.knowledge_documents.count() == 0


@pytest.mark.parametrize(
    ("words", "heading"),
    [
        ("square root of trading days", "Volatility"),
        ('"twice the Kelly fraction"', "The Kelly fraction"),
        ("insurance", "Protective put"),
        ("assigned early dividend", "Covered call"),
    ],
)
async def test_words_are_found_where_they_stand(
    db: Database, storage: Storage, words: str, heading: str
) -> None:
    await fill(db, storage)
    async with db.read(staff="test") as unit:
        hits = await search_text(unit, words)
    assert hits[0].heading.endswith(heading)
    assert [hit.text_rank for hit in hits] == list(range(1, len(hits) + 1))
    assert hits == sorted(hits, key=lambda hit: -hit.score)


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("how large a position may I take with my equity and a stop?", "Position size"),
        ("insurance for shares that I own", "Protective put"),
        ("how much gain is needed to recover from a fall of the equity", "Drawdown"),
        ("both spreads around the price with one expiration", "Iron condor"),
    ],
)
async def test_questions_are_answered_by_meaning_and_by_both(
    db: Database, storage: Storage, question: str, heading: str
) -> None:
    embedder = BagOfWords()
    await fill(db, storage, embedder)
    async with db.read(staff="test") as unit:
        near = await search_semantic(unit, embedder, question, limit=3)
        both = await search_knowledge(unit, embedder, question, limit=3)
    assert heading in [hit.heading.split(" > ")[-1] for hit in near]
    assert heading in [hit.heading.split(" > ")[-1] for hit in both]
    assert near[0].score >= near[1].score
    assert all(-1 <= hit.score <= 1.000001 for hit in near)
    assert both[0].semantic_rank is not None or both[0].text_rank is not None


async def test_the_nearest_are_what_a_sum_by_hand_says(db: Database, storage: Storage) -> None:
    embedder = BagOfWords()
    await fill(db, storage, embedder)
    question = "credit spread breakeven strike"
    async with db.read(staff="test") as unit:
        hits = await search_semantic(unit, embedder, question, limit=1_000)
        chunks = await unit.knowledge_chunks.all()
    asked = embedder.vector(question)
    cosines = {
        chunk.id: sum(
            a * b
            for a, b in zip(
                asked, embedder.vector(f"{chunk.heading}\n\n{chunk.content}"), strict=True
            )
        )
        for chunk in chunks
    }
    assert len(hits) == len(chunks)
    assert [hit.score for hit in hits] == pytest.approx(
        sorted(cosines.values(), reverse=True), abs=1e-6
    )


async def test_what_both_searches_find_comes_first(db: Database, storage: Storage) -> None:
    embedder = BagOfWords()
    await fill(db, storage, embedder)
    async with db.read(staff="test") as unit:
        best = (await search_knowledge(unit, embedder, "kelly fraction growth"))[0]
    assert best.heading.endswith("The Kelly fraction")
    assert (best.text_rank, best.semantic_rank) == (1, 1)
    assert best.score == pytest.approx(2 / 61)


async def test_a_search_may_be_narrowed_to_a_folder(db: Database, storage: Storage) -> None:
    embedder = BagOfWords()
    await fill(db, storage, embedder)
    async with db.read(staff="test") as unit:
        for hits in (
            await search_text(unit, "premium", below="trading/"),
            await search_semantic(unit, embedder, "premium of a put", below="trading/"),
            await search_knowledge(unit, embedder, "premium of a put", below="trading/"),
        ):
            assert {hit.path for hit in hits} <= {RISK_PATH}


async def test_odd_words_and_model_names_are_no_sql(db: Database, storage: Storage) -> None:
    embedder = BagOfWords(model="a'b:c%d\\e --")
    await ingest(db, storage, "a.md", "# A\nwords", embedder)
    async with db.read(staff="test") as unit:
        assert len(await search_semantic(unit, embedder, "'; DROP TABLE x; --")) == 1
        assert await search_text(unit, "'; & | ! :* (") == []
        for limit in (0, 1_001):
            with pytest.raises(InvalidData, match="limit"):
                await search_text(unit, "a", limit=limit)
        with pytest.raises(InvalidData, match="NUL"):
            await search_knowledge(unit, embedder, "a\x00")


async def test_a_declared_index_serves_the_search(db: Database, storage: Storage) -> None:
    async with db.read(system="test") as unit:
        if not await unit.session.scalar(text("SELECT to_regtype('vector') IS NOT NULL")):
            pytest.skip("this server has no pgvector, and so no HNSW")
    embedder = BagOfWords(64, "o'model")
    index = declare_embedding_index(embedder.model, embedder.dimensions)
    try:
        await ingest(db, storage, "a.md", demo_text(STRATEGIES), embedder)
        async with db.engine.begin() as connection:
            await connection.run_sync(index.create)
        async with db.transaction(staff="test") as unit:
            # A few rows are sorted faster than looked up.
            await unit.session.execute(text("SET LOCAL enable_sort = off"))
            hits = await search_semantic(unit, embedder, "iron condor", limit=3)
            scans = text("SELECT pg_stat_get_xact_numscans(CAST(:name AS regclass))")
            used = await unit.session.execute(scans, {"name": f"research.{index.name}"})
            assert used.scalar() == 1
        assert hits[0].heading.endswith("Iron condor")
    finally:
        KnowledgeChunk.__table__.indexes.discard(index)  # type: ignore[attr-defined]  # a Table


def test_an_index_has_at_most_two_thousand_dimensions() -> None:
    for dimensions in (0, 2_001):
        with pytest.raises(InvalidData, match="dimensions"):
            declare_embedding_index("large", dimensions)


async def test_texts_go_to_the_model_in_batches() -> None:
    sizes: list[int] = []

    class Counting(BagOfWords):
        async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            sizes.append(len(texts))
            return await super().embed(texts)

    vectors = await embedded(Counting(8), ["a"] * 130)
    assert (len(vectors), sizes) == (130, [64, 64, 2])
