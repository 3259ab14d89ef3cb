"""The list of mutants: what each lacks, the edits that take it away, and the proofs that must notice.

Source: jvs-protocol(7): every barrier, order, lock and step of recovery there has one here.
"""

from __future__ import annotations

from mutants.managing import COLLECTING, ERRORS, LOCKS, WORKTREES
from mutants.publishing import PUBLISHING
from mutants.recovering import RECOVERING
from mutants.restoring import RESTORING

MUTANTS = (*PUBLISHING, *RECOVERING, *RESTORING, *WORKTREES, *COLLECTING, *ERRORS, *LOCKS)
