"""The hacking experiment as a report: what each arm read, what it can do, what it uses, and what the paper says."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.shapes.hacking import ARMS, BASE, Setting
from pipeline.shapes.hacking_choices import TEMPORAL
from pipeline.shapes.hacking_figures import Claim, Table, claims, figure
from pipeline.shapes.hacking_measures import CHOSEN_FROM, NONE, TAMPERED, TOLD

SKILLS = (*TEMPORAL, "temporal", "asked", "static")


def markdown(results: Mapping[str, Sequence[Mapping[str, Any]]], setting: Setting, facts: Mapping[str, Any]) -> str:
    """`results[arm]` are the finished runs of an arm by seed; `facts` say machine, command, CPU seconds, pools."""
    table = Table({arm: [run["sums"] for run in runs] for arm, runs in results.items()})
    found = claims(table)
    lines = [
        "# The paper in miniature: does one-frame data teach a model to ignore time?",
        "",
        f"{setting.seeds} seeds, {setting.held_out} held-out films, {facts['cpu_s']:,.0f} CPU s on {facts['machine']}. "
        f"`{facts['command']}`. Intervals of 95 % over seeds and films. What arms and figures are: docs/hacking.md.",
        "",
        "## What agrees with the paper and what does not",
        "Each claim as a difference that should be positive: points of temporal accuracy (mean of direction, order, "
        "where, when), or nats a token. Not decided: the interval holds zero.",
        "",
        *_claims(found),
        "",
        "## Accuracy on held-out films",
        "Choice by likelihood among texts that the film itself makes plausible. Blind: the base without frames.",
        "",
        *_accuracy(table, results),
        "",
        "## TPL and likelihood of true temporal texts",
        f"Nats a token; temporal is the mean of {', '.join(TOLD)}. TPL falls when frames are used less, and also when "
        "a text is known less well: read it beside the likelihood.",
        "",
        *_likelihood(table, results),
        "",
        "## Use of frames",
        "What a film that was tampered with costs, against the film as it is: accuracy (mean of four), and nats a "
        "token of true temporal texts. Who ignores time loses nothing.",
        "",
        *_use(table, results),
        "",
        "## What each arm read",
        *_read(results),
        "",
        "## The pool and its halves",
        "One seed a line. One-frame: share of texts that one frame answers.",
        "",
        *_pools(facts["pools"]),
        "",
        "![plot](hacking.png)",
        "",
    ]
    return "\n".join(lines)


def _claims(found: Sequence[Claim]) -> list[str]:
    return _table(["claim", "difference", "outcome"], [[c.says, str(c.difference), c.outcome] for c in found])


def _accuracy(table: Table, results: Mapping[str, Any]) -> list[str]:
    rows = [[arm, *(str(figure(table.right(arm, s))) for s in SKILLS)] for arm in results]
    rows += [["*blind*", *(f"{table.right(BASE, s, NONE)[0]:.3f}" for s in SKILLS)]]
    rows += [["*chance*", *(f"{table.chance(s):.3f}" for s in SKILLS)]]
    return _table(["arm", *SKILLS], rows)


def _likelihood(table: Table, results: Mapping[str, Any]) -> list[str]:
    columns = ("temporal", *TOLD, "static")
    rows = [
        [arm, str(figure(table.nll(arm))), *(str(figure(table.tpl(arm, kind))) for kind in columns)] for arm in results
    ]
    return _table(["arm", "nll, all frames", *(f"TPL, {kind}" for kind in columns)], rows)


def _use(table: Table, results: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            arm,
            *(str(figure(table.loss(arm, shown))) for shown in ("shuffled", "held")),
            *(str(figure(table.rise(arm, shown))) for shown in TAMPERED),
        ]
        for arm in results
    ]
    heads = ["accuracy, shuffled", "accuracy, held", *(f"nats, {shown}" for shown in TAMPERED)]
    return _table(["arm", *heads], rows)


def _read(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    rows = []
    for arm, runs in results.items():
        if arm == BASE:
            continue
        first = runs[0]
        tokens = " / ".join(f"{run['tokens']:,}" for run in runs)
        replayed = " / ".join(f"{run['replayed_tokens']:,}" for run in runs)
        cpu = sum(run["training"]["cpu_s"] for run in runs) / len(runs)
        loss = sum(sum(run["loss"][-20:]) / len(run["loss"][-20:]) for run in runs) / len(runs)
        facts = [f"{first['steps']}", f"{first['films']:,}", f"{first['texts']:,}", tokens, replayed]
        rows.append([arm, ARMS[arm].says, *facts, f"{loss:.3f}", f"{cpu:.0f}"])
    heads = ["arm", "its texts", "steps", "films", "texts (first seed)", "target tokens by seed", "replayed tokens"]
    return _table([*heads, "loss, last 20 steps", "CPU s of training"], rows)


def _pools(pools: Sequence[Mapping[str, Mapping[str, float]]]) -> list[str]:
    rows = []
    for seed, account in enumerate(pools):
        for name, own in account.items():
            kinds = ", ".join(f"{k.removeprefix('share of ')} {v:.2f}" for k, v in own.items() if k.startswith("share"))
            figures = [f"{own['texts']:,}", f"{own['tokens']:,}", f"{own['tpl_key_per_token']:.3f}"]
            rows.append([f"{seed}, {name}", *figures, f"{own['one_frame']:.2f}", kinds])
    return _table(["seed, set", "texts", "tokens", "mean tpl_key a token", "one-frame", "kinds"], rows)


def summary(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """All figures as JSON: by arm, and the claims."""
    table = Table({arm: [run["sums"] for run in runs] for arm, runs in results.items()})
    arms = {
        arm: {
            **{f"right/{s}": _json(table.right(arm, s)) for s in SKILLS},
            **{f"right/temporal/{shown}": _json(table.right(arm, "temporal", shown)) for shown in CHOSEN_FROM},
            **{f"tpl/{k}": _json(table.tpl(arm, k)) for k in ("temporal", *TOLD, "static")},
            **{f"tpl_key/{k}": _json(table.tpl(arm, k, "tpl_key")) for k in ("temporal", *TOLD, "static")},
            **{f"rise/{shown}": _json(table.rise(arm, shown)) for shown in TAMPERED},
            "nll": _json(table.nll(arm)),
        }
        for arm in results
    }
    found = [{"claim": c.says, "difference": _numbers(c.difference), "outcome": c.outcome} for c in claims(table)]
    read = ("seed", "steps", "films", "texts", "tokens", "replayed_tokens", "training", "cpu_s", "wall_s")
    runs = {arm: [{key: run[key] for key in read if key in run} for run in own] for arm, own in results.items()}
    return {"arms": arms, "claims": found, "chance": {s: round(table.chance(s), 4) for s in SKILLS}, "runs": runs}


def _json(drawn: Any) -> list[float]:
    return _numbers(figure(drawn))


def _numbers(found: Any) -> list[float]:
    return [round(v, 4) for v in (found.value, found.low, found.high)]


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (heads, ["-"] * len(heads), *body)]
