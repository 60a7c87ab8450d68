"""What every result names: the machine that it was measured on. Standard library only: GPU machines lack the rest."""

import os
import platform
import re
from pathlib import Path


def machine() -> str:
    """The processor's name and its number of cores as the system tells them."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return f"{found.group(1) if found else platform.processor() or platform.machine()}, {os.cpu_count()} cores"
