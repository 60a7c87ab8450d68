"""What a served model may change of a clip's samples: the words of some questions, and nothing that is proved."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.build_utr_data import build_plan
from jobs.recipe import RecipeError, load_recipe
from pipeline.collect import Finished, finished
from pipeline.plan import Plan
from pipeline.publish import video_rows
from pipeline.run_local import run_local
from schemas.outcome import Skip
from schemas.row import Record
from schemas.sample import ComposedClip, PublishedSample
from stages.algorithms.compose import messages
from stages.algorithms.question_words import PLAIN
from stages.algorithms.questions import render
from stages.algorithms.rewriting import follows, parted
from stages.caption_clip import scene_of
from stages.models.mllm import MllmUnusable
from stages.reword_samples import RewordSamples, prompt_hash
from tests.fake_mllm import KEY, MODEL, FakeMllm, Step, completion, refuse, say, serving
from tests.publish.builders import make_clip, video_id_of

BY = f"mllm/{MODEL}@{prompt_hash()}"
PLEASE = "Please tell me: "


@pytest.fixture(scope="module")
def clips() -> list[ComposedClip]:
    """Three clips, composed by the real stage; the first came with a question of its own."""
    made = [make_clip(video_id_of(f"said {k}"), given=k == 0) for k in range(3)]
    return [ComposedClip(**{n: getattr(clip, n) for n in ComposedClip.schema().names}) for clip in made]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMllm]:
    monkeypatch.setenv("FAKE_KEY", KEY)
    with serving(FakeMllm(reword())) as fake:
        yield fake


def asked(text: str) -> list[str]:
    """The questions that a request holds."""
    return json.loads(text[text.rindex("The questions:\n") + len("The questions:\n") :])


def mark(text: str) -> str:
    found = re.search(r'"clip": "(\w+)"', text)
    assert found
    return found[1]


def polite(head: str) -> str:
    """A right rewording of any composed question."""
    return f"{PLEASE}{head[0].lower()}{head[1:]}"


def reword(change: Callable[[list[str]], object] = lambda said: None, **fields: Any) -> Step:
    """The right answer with `change` applied to the list of its questions, and `fields` to the whole."""

    def step(handler: Any, text: str) -> None:
        said = [polite(head) for head in asked(text)]
        change(said)
        handler.send(200, completion(json.dumps({"clip": mark(text), "questions": said, **fields})))

    return step


def stage(fake: FakeMllm, **changes: Any) -> RewordSamples:
    quick = {"wait_s": 0.01, "tries": 2, "timeout_s": 30.0, "share": 1.0}
    return RewordSamples(**{"url": fake.url, "model": "fake-lm", "key_env": "FAKE_KEY", **quick, **changes})


def process(rewording: RewordSamples, clips: list[ComposedClip]) -> list[Any]:
    mllm = rewording.open()
    try:
        return list(rewording.process(mllm, clips))
    finally:
        rewording.close(mllm)


def run(rewording: RewordSamples, clips: list[ComposedClip]) -> dict[str, Finished]:
    plan = Plan.of(clips, ComposedClip).then(rewording)
    return {source.source_uri: source for source in finished(plan, run_local(plan))}


def heads(clip: ComposedClip) -> list[str]:
    """The clip's different questions in order, without options and formats."""
    texts = [m.content for s in clip.samples if s.family != "given" for m in s.messages if m.role == "user"]
    return list(dict.fromkeys(parted(text.removeprefix("<video>\n"))[0] for text in texts))


def test_questions_change_and_nothing_else_does(fake: FakeMllm, clips: list[ComposedClip]) -> None:
    rows = process(stage(fake), clips)
    assert len(fake.requests) == len(clips)  # one a clip, whatever it holds
    for clip, row, request in zip(clips, rows, sorted(fake.requests, key=_place_in(clips)), strict=True):
        assert asked(request.texts[0]) == heads(clip)
        assert request.images == []
        assert replace(row, samples=clip.samples) == clip
        names = scene_of(clip).names
        for before, after in zip(clip.samples, row.samples, strict=True):
            if before.family == "given":
                assert after == before
                continue
            assert after.reworded_by == BY
            assert replace(after, messages=before.messages, reworded_by=None) == before
            rendered = messages(render(scene_of(clip), json.loads(after.program)))
            assert follows(after.messages, rendered, names) is None
            said = [m.content.removeprefix("<video>\n") for m in after.messages]
            assert all(text.startswith(PLEASE) for text in said[::2])
    assert [row.samples for row in ComposedClip.from_arrow(ComposedClip.to_arrow(rows))] == [r.samples for r in rows]
    assert any(sample.family == "given" for sample in clips[0].samples)


def _place_in(clips: list[ComposedClip]) -> Callable[[Any], int]:
    all_heads = [heads(clip) for clip in clips]
    return lambda request: all_heads.index(asked(request.texts[0]))


def test_a_published_row_says_who_put_its_question(fake: FakeMllm, clips: list[ComposedClip]) -> None:
    (row,) = process(stage(fake, share=0.5), clips[1:2])
    selected = replace(make_clip(clips[1].video_id), samples=row.samples)
    published = video_rows(selected.video_id, [selected], [])["data"]
    by = {sample.sample_id: sample.reworded_by for sample in row.samples}
    assert {r.sample_id: r.reworded_by for r in PublishedSample.from_arrow(_table(published))} == {
        sample_id: by[sample_id] for sample_id in selected.selected
    }
    assert {None, BY} == {by[sample_id] for sample_id in selected.selected}


def _table(published: Sequence[Record]) -> pa.Table:
    return PublishedSample.to_arrow([row for row in published if isinstance(row, PublishedSample)])


def test_the_same_question_has_the_same_words_in_all_samples_that_ask_it(
    fake: FakeMllm, clips: list[ComposedClip]
) -> None:
    """A twin must be asked in the words of what it is the twin of."""
    (row,) = process(stage(fake, share=0.5), clips[1:2])
    said: dict[str, set[str]] = {}
    for before, after in zip(clips[1].samples, row.samples, strict=True):
        for own, new in zip(before.messages[::2], after.messages[::2], strict=True):
            said.setdefault(parted(own.content.removeprefix("<video>\n"))[0], set()).add(
                parted(new.content.removeprefix("<video>\n"))[0]
            )
    assert all(len(words) == 1 for words in said.values())
    assert any(sample.twin and sample.reworded_by for sample in row.samples)


def test_the_share_is_drawn_by_the_clips_key(fake: FakeMllm, clips: list[ComposedClip]) -> None:
    chosen = [_changed(process(stage(fake, share=0.3, seed=seed), clips), clips) for seed in (1, 1, 2)]
    n = sum(len(heads(clip)) for clip in clips)
    assert chosen[0] == chosen[1] != chosen[2]
    assert 0.15 * n < len(chosen[0]) < 0.45 * n
    assert _changed(process(stage(fake, share=0.3, seed=1), clips[::-1])[::-1], clips) == chosen[0]


def _changed(rows: list[Any], clips: list[ComposedClip]) -> set[tuple[str, str]]:
    return {
        (clip.clip_id, head)
        for clip, row in zip(clips, rows, strict=True)
        for head in set(heads(clip)) - set(heads(row))
    }


def _numbers_up(said: list[str]) -> None:
    said[:] = [re.sub(r"\d+", lambda found: str(int(found[0]) + 1), text) for text in said]


def _in_german(said: list[str]) -> None:
    said[:] = [text.replace("Where is", "Wo ist").replace("where is", "wo ist") for text in said]


WRONG: dict[str, tuple[Callable[[list[str]], object], str]] = {
    "changed numbers": (_numbers_up, r"lost \[.*frame"),
    "another language": (_in_german, r"asks for yes or no, not place|'wo' |yes or no"),
    "no question": (lambda said: said.__setitem__(0, "I cannot help with that."), "is no question"),
    "an empty one": (lambda said: said.__setitem__(0, ""), "no single line"),
    "in another order": (lambda said: said.reverse(), "asks for|lost|words >"),
    "an option more": (lambda said: said.__setitem__(0, f"{said[0]} (A) left (B) right"), "options, or how to answer"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_rewording_that_is_not_kept_leaves_its_samples_as_they_were_and_is_counted(
    fake: FakeMllm, clips: list[ComposedClip], what: str
) -> None:
    change, why = WRONG[what]
    fake.otherwise = reword(change)
    clip = clips[1]
    done = run(stage(fake), [clip])[clip.uri]
    (row,) = ComposedClip.from_arrow(done.rows)
    said = [polite(head) for head in heads(clip)]
    change(said)
    wrong = {head for head, words in zip(heads(clip), said, strict=True) if words != polite(head)}
    kept_as_they_were = set(heads(clip)) & set(heads(row))
    assert wrong
    assert kept_as_they_were == wrong if what != "in another order" else len(kept_as_they_were) > len(wrong) / 2
    for before, after in zip(clip.samples, row.samples, strict=True):
        assert (after.reworded_by is None) == (after == before)
    (outcome,) = done.outcomes
    assert (outcome.stage, outcome.kind, outcome.reason) == ("RewordSamples", "skip", "nothing_to_say")
    assert outcome.detail.startswith(f"{len(kept_as_they_were)} of {len(said)} rewordings not used by {BY}: ")
    assert re.search(why, outcome.detail)
    assert len(fake.requests) == 1


FLAWED: dict[str, tuple[Step, str, str]] = {
    "one less": (reword(lambda said: said.pop()), "nothing_to_say", r"malformed: \d+ questions, not \d+"),
    "empty": (say(""), "nothing_to_say", "empty: "),
    "prose": (say("Sure, here they are."), "nothing_to_say", "malformed: Invalid JSON"),
    "cut": (say('{"clip": "ab', finish="length"), "too_long", "cut: Invalid JSON"),
    "of another clip": (reword(clip="0badc11f"), "nothing_to_say", "of another clip: "),
    "a key more": (reword(note="done"), "nothing_to_say", "malformed: Extra inputs"),
}


@pytest.mark.parametrize("flaw", FLAWED)
def test_an_answer_that_is_none_is_asked_for_once_more_and_then_named(
    fake: FakeMllm, clips: list[ComposedClip], flaw: str
) -> None:
    step, reason, says = FLAWED[flaw]
    fake.script["Below is"] = [step]
    (row,) = process(stage(fake), clips[1:2])
    assert set(heads(row)).isdisjoint(heads(clips[1]))
    assert re.search(rf"Your last answer cannot be used, it is {says}", fake.requests[-1].texts[-1])
    fake.script["Below is"] = [step] * 9
    ((row, skip),) = process(stage(fake), clips[1:2])
    assert row == clips[1]
    assert isinstance(skip, Skip)
    assert skip.reason == reason
    assert re.match(rf"{len(heads(row))} questions not reworded, {says}", skip.detail)
    assert len(fake.requests) == 2 + 2


@pytest.mark.parametrize("step", [say(None, refusal="I will not."), say("I w", finish="content_filter")])
def test_a_refusal_is_named_and_not_asked_again(fake: FakeMllm, clips: list[ComposedClip], step: Step) -> None:
    fake.otherwise = step
    ((row, skip),) = process(stage(fake), clips[1:2])
    assert row == clips[1]
    assert "questions not reworded, refused: I w" in skip.detail
    assert len(fake.requests) == 1


def test_a_clip_without_an_answer_goes_on_as_it_was_beside_the_others(
    fake: FakeMllm, clips: list[ComposedClip]
) -> None:
    sick = heads(clips[2])
    fake.script[json.dumps(sick, indent=0)] = [refuse(500, "oom")] * 9
    one, other, (row, skip) = process(stage(fake), clips)
    assert row == clips[2]
    assert re.match(rf"{len(sick)} questions not reworded, no answer: .* says 500: ", skip.detail)
    assert all(any(s.reworded_by for s in clip.samples) for clip in (one, other))


def test_a_wrong_key_ends_the_run(fake: FakeMllm, clips: list[ComposedClip]) -> None:
    fake.otherwise = refuse(401, f"no: {KEY}")
    with pytest.raises(MllmUnusable, match=r"says 401: .*\*\*\*"):
        run(stage(fake), clips)


def test_the_prompt_lists_the_words_that_may_be_used_and_the_hash_covers_them(
    fake: FakeMllm, clips: list[ComposedClip]
) -> None:
    process(stage(fake), clips[:1])
    (text,) = fake.requests[0].texts
    assert f" {' '.join(sorted(PLAIN))}." in text
    assert re.fullmatch(r"[0-9a-f]{12}", prompt_hash())
    assert "$" not in text


def test_the_fingerprint_moves_with_what_is_asked_not_with_how_it_is_reached() -> None:
    base: dict[str, Any] = {"url": "http://a/v1", "model": "m"}
    plain = RewordSamples(**base).fingerprint
    ways = {"url": "https://b/v1", "key_env": "K", "concurrency": 2, "tries": 9, "timeout_s": 9.0}
    assert all(RewordSamples(**{**base, name: value}).fingerprint == plain for name, value in ways.items())
    other = {"model": "n", "share": 0.7, "seed": 3, "options": {"temperature": 1}}
    assert len({plain, *(RewordSamples(**{**base, name: value}).fingerprint for name, value in other.items())}) == 5


def test_a_recipe_without_the_section_has_the_plan_that_it_had(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("seed: 5\nreword: {url: http://a/v1, model: m}")
    recipe = load_recipe(str(mine))
    assert recipe.reword
    assert recipe.stage(recipe.reword).seed == 5
    names = [name for name, _ in build_plan(load_recipe("default"), []).named]
    with_it = [name for name, _ in build_plan(recipe, []).named]
    assert "RewordSamples" not in names
    assert [name for name in with_it if name != "RewordSamples"] == names
    assert with_it.index("RewordSamples") == with_it.index("ComposeSamples") + 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"share": 0}, "share=0: above 0, at most 1"),
        ({"share": 1.5}, r"share=1\.5: above 0"),
        ({"url": ""}, "url='' is no address"),
        ({"prompt": "poem"}, "reword: unknown key prompt; known: engine"),
    ],
)
def test_a_wrong_section_is_refused_by_name(wrong: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"reword": {"url": "http://a/v1", "model": "m", **wrong}}))
    with pytest.raises(RecipeError, match=rf"mine\.yaml: .*{says}"):
        load_recipe(str(path))
