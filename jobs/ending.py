"""How a command ends: its exit code, and what it says when something stopped it."""

import os
from collections.abc import Callable

from jobs.console import Console
from jobs.recipe import RecipeError
from pipeline.block import SchemaError
from pipeline.build import NotOurs
from pipeline.collect import CreditError
from pipeline.ledger import LedgerBusy, PlanChanged
from pipeline.sources import SourceError
from pipeline.storage import NoStore, PublishError, store_errors
from pipeline.worker import StageError
from stages.media.child import ReadError
from stages.models.checkpoint import NoScorer
from stages.models.embedder import EmbedderUnusable

EXIT = {
    0: "done; skipped and failed rows, if any, are listed in failures/",
    1: "verify: something does not follow",
    2: "the command, the recipe or the input cannot be used; nothing was written",
    3: "sealed, but more videos failed than the recipe's max_failed_share",
    4: "sealed, but nothing came of it: no sample, no score, no selection",
    5: "the output cannot be written; the same command goes on when it can",
    6: "the run broke: a fault of the engine or the machine; finished videos are kept. doctor: wrong numbers",
    130: "interrupted; the same command goes on where this one stopped",
}
USAGE_ERRORS = (RecipeError, SourceError, NotOurs, LedgerBusy, PlanChanged, NoScorer, EmbedderUnusable, NoStore)
BROKEN = (CreditError, SchemaError, StageError, ReadError, RuntimeError)  # RuntimeError: Ray's, and a worker that died


def exit_code(console: Console, job: Callable[[], int]) -> int:
    """What the job returns, or the exit code of what stopped it, said on standard error."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread an actor: two stall each other on two cores
    try:
        return job()
    except USAGE_ERRORS as error:
        return refused(console, str(error))
    except (PublishError, *store_errors()) as error:
        text = f"error: {str(error).rstrip('.')}. The same command goes on from here."
        console.err.print(text, style="red", highlight=False, soft_wrap=True, markup=False)
        return 5
    except BROKEN as error:
        what = f"the run broke: {type(error).__name__}: {error}"
        console.err.print(what, style="red", highlight=False, soft_wrap=True, markup=False)
        return 6
    except KeyboardInterrupt:
        console.err.print("\ninterrupted: finished videos are kept, the same command goes on from here", style="yellow")
        return 130


def refused(console: Console, why: str) -> int:
    """Says why a command cannot be used."""
    console.err.print(f"error: {why}", style="red", highlight=False, soft_wrap=True, markup=False)
    return 2
