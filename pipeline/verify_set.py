"""What does not follow between rows: names, spans, splits and uris, and the counts that the manifest holds."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from pipeline.publish import split_of
from pipeline.sealed import Problem, Sealed
from pipeline.verify_groups import group_problems
from pipeline.verify_rows import is_given
from schemas.outcome import Reason
from schemas.sample import PublishedSample

SAMPLE_ID = re.compile(r"(?P<clip>.+-s\d{3,}-p\d{2,})-(?P<source>[qm])(?P<number>\d{3,6})")  # composed, or given
GROUP_ID = re.compile(r"(?P<clip>.+)-g\d{3,6}")  # of composed samples; a given one is a group of its own
DROPS = {  # why a stage drops single samples
    "ComposeSamples": {Reason.LABEL_RISK},
    "SelectSamples": {Reason.NOT_SCORED, Reason.HACKABLE, Reason.SPARSE},
    "Balance": {Reason.IMBALANCE},
}
OF_SOURCES = "ProbeVideo"  # the outcomes of this stage are of sources: copies, files that are no films


def set_problems(data: Sealed) -> Iterator[Problem]:
    """Everything between rows that contradicts itself."""
    yield from _twice(clip.clip_id for clip in data.clips)
    yield from _twice(sample.sample_id for sample in data.samples)
    for sample in data.samples:
        yield from _name_problems(sample)
    for samples in data.samples_of.values():
        yield from _clip_facts(samples)
        yield from group_problems(samples)
    yield from _uri_problems(data)
    yield from _overlaps(data)
    yield from _lost_samples(data)
    yield from _scorer_counts(data)
    yield from _funnel_counts(data)
    yield from _dropped_samples(data)
    if not any(line.startswith("NameTracks") for line in data.manifest.plan):
        named = [(clip.clip_id, track.named_by) for clip in data.clips for track in clip.tracks if track.named_by]
        yield from (Problem(clip_id, f"a track is named by {by}, and the plan names none") for clip_id, by in named)


def _twice(ids: Iterable[str]) -> Iterator[Problem]:
    for key, times in Counter(ids).items():
        if times > 1:
            yield Problem(key, "occurs twice" if times == 2 else f"occurs {times} times")


def _name_problems(sample: PublishedSample) -> Iterator[Problem]:
    """Names and split that do not follow from the clip's and the video's name."""
    key = sample.sample_id
    if not sample.clip_id.startswith(f"{sample.video_id[:16]}-s"):
        yield Problem(key, f"its clip {sample.clip_id} is not of its video {sample.video_id}")
    name = SAMPLE_ID.fullmatch(key)
    if name is None or name["clip"] != sample.clip_id:
        yield Problem(key, f"its sample_id is not of its clip {sample.clip_id}")
    elif (name["source"] == "m") != is_given(sample):
        yield Problem(key, "its sample_id says whether it came with its video, and its program says otherwise")
    group = GROUP_ID.fullmatch(sample.group_id)
    if sample.group_id != key if is_given(sample) else group is None or group["clip"] != sample.clip_id:
        yield Problem(key, f"its group_id {sample.group_id} is not of its clip {sample.clip_id}")
    if sample.split != split_of(sample.video_id):
        yield Problem(key, f"split: published {sample.split}, recomputed {split_of(sample.video_id)}")


def _clip_facts(samples: list[PublishedSample]) -> Iterator[Problem]:
    """Samples of one clip that disagree about the clip."""
    names = ("video_id", "uri", "start_tick", "end_tick", "time_base_num", "time_base_den", "frame_tick",
             "scorer", "scorer_domain")  # fmt: skip
    for sample in samples[1:]:
        for name in names:
            if getattr(sample, name) != getattr(samples[0], name):
                yield Problem(sample.sample_id, f"disagrees with another sample of its clip about {name}")


def _uri_problems(data: Sealed) -> Iterator[Problem]:
    """A video has one uri and a uri one video, and what became of a video's other rows is told under that uri."""
    uris: defaultdict[str, set[str]] = defaultdict(set)
    videos: defaultdict[str, set[str]] = defaultdict(set)
    for sample in data.samples:
        uris[sample.video_id].add(sample.uri)
        videos[sample.uri].add(sample.video_id)
    for video_id, found in uris.items():
        if len(found) > 1:
            yield Problem(video_id, f"has more than one uri: {', '.join(sorted(found))}")
    for uri, ids in videos.items():
        if len(ids) > 1:
            yield Problem(uri, f"is the uri of more than one video: {', '.join(sorted(ids))}")
    by_prefix = {video_id[:16]: found for video_id, found in uris.items()}
    for outcome in data.outcomes:
        known = by_prefix.get(outcome.key[:16])
        if known and outcome.stage != OF_SOURCES and outcome.uri not in known:
            yield Problem(outcome.key, f"its uri {outcome.uri} is not that of its video: {', '.join(sorted(known))}")


def _overlaps(data: Sealed) -> Iterator[Problem]:
    """Clips of one video that share time."""
    spans: defaultdict[str, list[PublishedSample]] = defaultdict(list)
    for samples in data.samples_of.values():
        spans[samples[0].video_id].append(samples[0])
    for firsts in spans.values():
        for one, two in pairwise(sorted(firsts, key=lambda s: (s.start_tick, s.clip_id))):
            if one.end_tick > two.start_tick:
                yield Problem(two.clip_id, f"starts at tick {two.start_tick}, before {one.clip_id} ends")


def _lost_samples(data: Sealed) -> Iterator[Problem]:
    """The samples of a clip are numbered from 0, and each is either published or listed in failures/."""
    numbers: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    dropped = {outcome.key for outcome in data.outcomes}
    for key in [*(s.sample_id for s in data.samples), *dropped]:
        if name := SAMPLE_ID.fullmatch(key):
            numbers[name["clip"], name["source"]].add(int(name["number"]))
    for (clip_id, source), known in numbers.items():
        for k in sorted(set(range(max(known))) - known):
            yield Problem(f"{clip_id}-{source}{k:03d}", "is neither published nor listed in failures/")
    for clip in data.clips:
        if not any((clip.clip_id, source) in numbers for source in "qm"):
            yield Problem(clip.clip_id, "has no sample, published or listed in failures/")
    for sample in data.samples:
        if sample.sample_id in dropped:
            yield Problem(sample.sample_id, "is published, and listed in failures/ too")


def _scorer_counts(data: Sealed) -> Iterator[Problem]:
    """The manifest counts clips by scorer and domain; clips without a published sample name neither."""
    told: Counter[tuple[str, str]] = Counter()
    for facts in data.manifest.scorers:
        told.update({(facts.scorer, "in"): facts.clips_in, (facts.scorer, "out"): facts.clips_out})
    firsts = [samples[0] for samples in data.samples_of.values()]
    found = Counter((first.scorer, first.scorer_domain) for first in firsts)
    for (scorer, domain), clips in found.items():
        if clips > told[scorer, domain]:
            what = f"{clips} clips have scorer_domain {domain!r}, the manifest counts {told[scorer, domain]}"
            yield Problem(scorer, what)
    if told.total() != len(data.clips):
        yield Problem("clips", f"{len(data.clips)} clips, the manifest counts {told.total()} by scorer")
    frames = {(facts.scorer, facts.n_frames) for facts in data.manifest.scorers}
    for first in firsts:
        if first.scorer_domain == "in" and (first.scorer, len(first.frame_tick)) not in frames:
            yield Problem(first.clip_id, f"scorer_domain is 'in', but {first.scorer} was not measured on its frames")


def _dropped_samples(data: Sealed) -> Iterator[Problem]:
    """Samples in failures/: of a clip that is there, by a stage that drops such, for a reason that it has."""
    clip_ids = {clip.clip_id for clip in data.clips}
    for outcome in data.outcomes:
        name = SAMPLE_ID.fullmatch(outcome.key)
        if name is None:
            continue
        if name["clip"] not in clip_ids:
            yield Problem(outcome.key, "is listed in failures/, and its clip is not in clips/")
        if outcome.kind != "skip" or outcome.reason not in DROPS.get(outcome.stage, ()):
            yield Problem(outcome.key, f"{outcome.stage} drops no sample as {outcome.kind} {outcome.reason}")


def _funnel_counts(data: Sealed) -> Iterator[Problem]:
    """Rows that ended in a stage are listed in failures/, one by one; beside them, only dropped samples are."""
    ended = (o for o in data.outcomes if not SAMPLE_ID.fullmatch(o.key))
    listed = Counter((o.stage, o.kind, o.reason) for o in ended)
    told: Counter[tuple[str, str, str]] = Counter()
    for line in data.manifest.funnel:
        told.update({(line.stage, "skip", count.reason): count.rows for count in line.skipped})
        told.update({(line.stage, "failure", count.reason): count.rows for count in line.failed})
    for stage, kind, reason in sorted(told.keys() | listed.keys()):
        n, rows = listed[stage, kind, reason], told[stage, kind, reason]
        if n != rows:
            yield Problem("failures", f"{stage}, {kind} {reason}: {n} rows are listed, the manifest counts {rows}")
