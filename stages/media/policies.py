"""What becomes of a damaged film: it fails, or is used up to its first frame that is not sound."""

DROP, PREFIX = "drop", "prefix"
POLICIES = (DROP, PREFIX)
