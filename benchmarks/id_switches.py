"""Is the id-switch risk right? Rates of switches by kind of link, and tracks by the risk that follows from them."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from benchmarks.switches import Kind, switch_risk

EDGES = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Judged:
    """A chain whose links the truth can judge: what is known of each link, and whether it joins two subjects."""

    camera: str
    source: str
    tracker: str
    kinds: tuple[Kind, ...]
    switched: tuple[bool, ...]

    @property
    def is_mixed(self) -> bool:
        return any(self.switched)


KINDS: tuple[Kind, ...] = tuple(product((False, True), (False, True)))


def rates_of(rows: Sequence[Judged]) -> dict[Kind, tuple[int, int]]:
    """By kind of link: how many join two subjects, of how many."""
    count: Counter[tuple[Kind, bool]] = Counter()
    for row in rows:
        count.update(zip(row.kinds, row.switched, strict=True))
    return {kind: (count[kind, True], count[kind, True] + count[kind, False]) for kind in KINDS}


def smoothed(counts: dict[Kind, tuple[int, int]]) -> dict[Kind, float]:
    """Rates with half a switch added (Jeffreys), so that what was not seen is not impossible."""
    return {kind: (hits + 0.5) / (total + 1) for kind, (hits, total) in counts.items()}


def held_out_risks(rows: Sequence[Judged]) -> list[tuple[float, bool]]:
    """For each chain the risk by the rates of all other cameras, and whether it is of more than one subject."""
    found = []
    for camera in sorted({row.camera for row in rows}):
        rates = smoothed(rates_of([row for row in rows if row.camera != camera]))
        found += [(switch_risk(row.kinds, rates), row.is_mixed) for row in rows if row.camera == camera]
    return found


def calibration(rows: Sequence[Judged]) -> tuple[list[str], dict[str, Any]]:
    """The tables as Markdown lines, and their numbers."""
    counts = rates_of(rows)
    lines = [
        "## Id-switch risk",
        "",
        "A link joins two consecutive boxes of a track. Crowded: another box of the label overlaps one of the two. "
        "Doubted: the tracker does not make it when it sees the film backward. Links of detected boxes, all trackers.",
        "",
        "| crowded | doubted | links | of two subjects | rate |",
        "|-|-|-|-|-|",
    ]
    for kind in KINDS:
        hits, total = counts[kind]
        lines.append(f"| {_yes(kind[0])} | {_yes(kind[1])} | {total} | {hits} | {hits / max(1, total):.4f} |")
    risks = held_out_risks(rows)
    brier = float(np.mean([(risk - is_mixed) ** 2 for risk, is_mixed in risks]))
    base = float(np.mean([is_mixed for _, is_mixed in risks]))
    lines += [
        "",
        "A track's risk: that one of its links joins two subjects, if links fail apart from each other, by the rates "
        "of the other cameras.",
        "",
        "| risk | tracks | mean risk | of more than one subject |",
        "|-|-|-|-|",
    ]
    bins: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for risk, is_mixed in risks:
        bins[min(len(EDGES) - 2, int(np.searchsorted(EDGES, risk, side="right")) - 1)].append((risk, is_mixed))
    table = []
    for k in sorted(bins):
        predicted, observed = (float(np.mean(column)) for column in zip(*bins[k], strict=True))
        table.append(
            {"from": EDGES[k], "to": EDGES[k + 1], "tracks": len(bins[k]), "mean_risk": predicted, "mixed": observed}
        )
        lines.append(f"| {EDGES[k]:.2f} to {EDGES[k + 1]:.2f} | {len(bins[k])} | {predicted:.3f} | {observed:.3f} |")
    lines += ["", f"Brier score {brier:.3f}; {base * (1 - base):.3f} for the base rate {base:.3f} alone."]
    rates = [{"crowded": c, "doubted": d, "links": counts[c, d][1], "switches": counts[c, d][0]} for c, d in KINDS]
    return lines, {"link_rates": rates, "reliability": table, "brier": brier, "base_rate": base}


def _yes(value: bool) -> str:
    return "yes" if value else "no"
