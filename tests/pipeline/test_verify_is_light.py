"""Verify must run where no engine is: no torch, no ray, no decoder."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import sys
for name in ("torch", "transformers", "ray", "av", "cv2", "scenedetect", "trackers"):
    sys.modules[name] = None
import pipeline.verify
print("light")
"""


def test_verify_imports_no_engine() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "light\n", done.stderr
