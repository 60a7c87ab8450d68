"""How long ranks wait for each other; read where neither torch nor Ray is."""

COLLECTIVE_S = 1800  # a rank that waits longer waits for a dead one; saving takes minutes
PLAN_S = 86_400  # for the first rank's plan: lengths of millions of samples take hours
