"""The dataclass is the Arrow contract, and a row survives the way there and back."""

from dataclasses import dataclass, fields

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.clip import Clip, DecodedClip
from schemas.outcome import Outcome
from schemas.row import Float32, Record
from schemas.video import QA, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Record):
    name: str
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything(Record):
    text: str
    flag: bool
    number: int
    data: bytes
    single: Float32
    maybe: int | None
    box: tuple[float, float]
    many: tuple[Inner, ...]
    one: Inner
    none_or_one: Inner | None
    nested: tuple[tuple[int, ...], ...]


inners = st.builds(Inner, name=st.text(), score=st.none() | st.floats(allow_nan=False))
ints = st.integers(-(2**63), 2**63 - 1)
everythings = st.builds(
    Everything,
    text=st.text(),
    flag=st.booleans(),
    number=ints,
    data=st.binary(),
    single=st.floats(width=32, allow_nan=False).map(Float32),
    maybe=st.none() | ints,
    box=st.tuples(*[st.floats(allow_nan=False)] * 2),
    many=st.lists(inners).map(tuple),
    one=inners,
    none_or_one=st.none() | inners,
    nested=st.lists(st.lists(ints).map(tuple)).map(tuple),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(everythings, max_size=3))
def test_rows_survive_arrow(rows: list[Everything]):
    assert Everything.from_arrow(Everything.to_arrow(rows)) == rows


def test_the_schema_is_the_dataclass():
    schema = Everything.schema()
    assert schema.names == [field.name for field in fields(Everything)]
    assert [field.name for field in schema if field.nullable] == ["maybe", "none_or_one"]
    assert schema.metadata == {b"row": b"Everything", b"version": b"1"}
    assert schema.field("many").type.value_field.nullable is False
    assert schema.field("single").type == pa.float32()


def test_a_subclass_adds_columns_at_the_end():
    assert DecodedClip.schema().names[: len(Clip.schema())] == Clip.schema().names


def test_outcomes_have_the_published_columns():
    assert Outcome.schema().names == ["key", "uri", "stage", "kind", "reason", "detail"]


def test_a_missing_column_is_an_error():
    table = Inner.to_arrow([Inner(name="a", score=None)]).drop_columns(["score"])
    with pytest.raises(ValueError, match="Inner: columns missing: score"):
        Inner.from_arrow(table)


def test_a_null_in_a_required_column_is_an_error():
    with pytest.raises(ValueError, match="null"):
        Inner.from_arrow(pa.table({"name": pa.nulls(1, pa.large_string()), "score": [1.0]}))


def test_extend_keeps_what_is_known():
    source = Source(uri="a.mp4", location="/a.mp4", caption="c", qa=(QA(question="q", answer="a"),))
    assert (source.key, source.source_uri) == ("a.mp4", "a.mp4")
    assert source.extend(Source) == source
    with pytest.raises(TypeError):
        source.extend(Clip)  # the new columns are missing


def test_an_annotation_without_an_arrow_type_is_an_error():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Bad(Record):
        values: dict[str, int]

    with pytest.raises(TypeError, match="no Arrow type"):
        Bad.schema()
