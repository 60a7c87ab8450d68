"""How long the demo's build takes and what it yields: `python -m benchmarks.demo`, on an idle machine.

Prints one JSON line: seconds of the whole command and of the build, samples, real clips with samples, the machine.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from benchmarks.machine import machine


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        began = time.monotonic()
        run = subprocess.run([sys.executable, "-m", "jobs.cli", "demo", "--out", str(out)], check=False)
        wall_s = time.monotonic() - began
        samples = pl.read_parquet(out / "data/*.parquet")
        real = samples.filter(~pl.col("uri").str.starts_with("shapes-"))
        manifest = json.loads((out / "manifest.json").read_text())
    print(
        json.dumps(
            {
                "exit": run.returncode,
                "command_s": round(wall_s, 1),
                "build_s": manifest["run"]["wall_s"],
                "samples": len(samples),
                "real_clips": real["clip_id"].n_unique(),
                "machine": machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
