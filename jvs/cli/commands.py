"""The command table: every command's name, kind, group and one-line summary; the only list of them.

`jvs help`, the man pages, completion and the tests read it. A summary is the first line of its module's docstring.
"""

from __future__ import annotations

PLUMBING = "plumbing"
PORCELAIN = "porcelain"

Row = tuple[str, str, str]
"""Shape: kind, group, summary."""

COMMANDS: dict[str, Row] = {
    # porcelain
    "init": (PORCELAIN, "start", "Make a repository for a new or an existing workspace"),
    "clone": (PORCELAIN, "start", "Make a copy of a repository, with its history and an id of its own"),
    "snapshot": (PORCELAIN, "daily", "Take a snapshot of a worktree"),
    "history": (PORCELAIN, "daily", "List the snapshots of a worktree, newest first"),
    "status": (PORCELAIN, "daily", "Show where the worktree is and what changed since"),
    "diff": (PORCELAIN, "daily", "Show what differs between snapshots, or from the files now"),
    "show": (PORCELAIN, "daily", "Show one snapshot"),
    "ls": (PORCELAIN, "daily", "List what a snapshot holds"),
    "cat": (PORCELAIN, "daily", "Print a file as a snapshot holds it"),
    "tag": (PORCELAIN, "daily", "Give a snapshot tags, or take them away"),
    "note": (PORCELAIN, "daily", "Give a snapshot another note"),
    "meta": (PORCELAIN, "daily", "Give a snapshot facts, such as metrics"),
    "restore": (PORCELAIN, "daily", "Bring a worktree, or some of its paths, back to a snapshot"),
    "undo": (PORCELAIN, "daily", "Undo the last restore, rename, removal or undo"),
    "run": (PORCELAIN, "daily", "Run a command between snapshots, and roll back when it fails"),
    "merge": (PORCELAIN, "worktrees", "Bring the work of a fork back: merge it into a worktree"),
    "enter": (PORCELAIN, "worktrees", "Run a command that sees a fork at main's own path"),
    "try": (PORCELAIN, "worktrees", "Run a command on a throwaway copy, and decide then what becomes of it"),
    "worktree list": (PORCELAIN, "worktrees", "List the worktrees"),
    "worktree create": (PORCELAIN, "worktrees", "Make a worktree, empty or from a snapshot"),
    "worktree fork": (PORCELAIN, "worktrees", "Make a worktree from a snapshot"),
    "worktree path": (PORCELAIN, "worktrees", "Print where a worktree's files are"),
    "worktree rename": (PORCELAIN, "worktrees", "Give a worktree another name"),
    "worktree move": (PORCELAIN, "worktrees", "Move a worktree to another place"),
    "worktree attach": (PORCELAIN, "worktrees", "Bind a directory as a worktree, after it was moved or copied by hand"),
    "worktree remove": (PORCELAIN, "worktrees", "Remove a worktree, keeping what no snapshot holds"),
    "verify": (PORCELAIN, "trust", "Check snapshots against their checksums and hashes"),
    "doctor": (PORCELAIN, "trust", "Find and repair what crashes or accidents left"),
    "du": (PORCELAIN, "space", "Show what takes the space: each snapshot, and what else is kept"),
    "gc plan": (PORCELAIN, "space", "Plan which snapshots can go"),
    "gc run": (PORCELAIN, "space", "Collect the snapshots of a plan"),
    "gc drop": (PORCELAIN, "space", "Collect exactly the snapshots that are named"),
    "gc auto": (PORCELAIN, "space", "Plan a collection and carry it out, by a policy or within a budget"),
    "gc pin": (PORCELAIN, "space", "Protect a snapshot from collection"),
    "gc unpin": (PORCELAIN, "space", "Take a pin away"),
    "gc pins": (PORCELAIN, "space", "List the pins"),
    "send": (PORCELAIN, "travel", "Write snapshots to a stream, for another repository to receive"),
    "receive": (PORCELAIN, "travel", "Receive the snapshots of a stream"),
    "info": (PORCELAIN, "about", "Show the repository, its engine and what that costs"),
    "detach": (PORCELAIN, "about", "Stop keeping snapshots of a workspace, and keep its files"),
    "config get": (PORCELAIN, "about", "Print one setting"),
    "config set": (PORCELAIN, "about", "Change one setting"),
    "config unset": (PORCELAIN, "about", "Take one setting back to its default"),
    "config list": (PORCELAIN, "about", "List the settings and where they come from"),
    "hooks list": (PORCELAIN, "about", "List the hooks and which of them may run"),
    "hooks allow": (PORCELAIN, "about", "Let hooks of this repository run, as they are now"),
    "hooks deny": (PORCELAIN, "about", "Let hooks of this repository run no more"),
    "conformance run": (PORCELAIN, "about", "Judge an installation by its promises"),
    "conformance list": (PORCELAIN, "about", "List the promises that can be checked"),
    "torture": (PORCELAIN, "about", "Crash jvs at every step on your own storage, and check the promises"),
    "agent install": (PORCELAIN, "about", "Wire an agent to jvs: a snapshot around each tool, and the tools of jvs"),
    "agent uninstall": (PORCELAIN, "about", "Take the wiring of an agent away again"),
    "agent status": (PORCELAIN, "about", "Say whether an agent is wired to jvs"),
    "mcp": (PORCELAIN, "about", "Serve the tools of a workspace to an agent"),
    "completion": (PORCELAIN, "about", "Print the completion script for a shell"),
    "help": (PORCELAIN, "about", "Explain a command, or list them all"),
    "version": (PORCELAIN, "about", "Print the version"),
    # plumbing: the twelve steps
    "check-worktree": (PLUMBING, "steps", "Check that a snapshot of a worktree may begin (step 1)"),
    "write-intent": (PLUMBING, "steps", "Write down what is about to be done (step 2)"),
    "clone-tree": (PLUMBING, "steps", "Clone a directory with the best engine (step 3)"),
    "hash-tree": (PLUMBING, "steps", "Print the root hash of a directory (step 4)"),
    "sync-tree": (PLUMBING, "steps", "Make a directory tree durable (step 5)"),
    "write-descriptor": (PLUMBING, "steps", "Write the descriptor under its temporary name (steps 6 and 7)"),
    "write-ready": (PLUMBING, "steps", "Write the READY marker next to the payload (step 8)"),
    "rename-ready": (PLUMBING, "steps", "Give payload and descriptor their final names (steps 9 and 10)"),
    "update-head": (PLUMBING, "steps", "Move the head of a worktree by compare-and-swap (step 11)"),
    "chain-append": (PLUMBING, "steps", "Append a record to a hash-chained log (step 12)"),
    "clear-intent": (PLUMBING, "steps", "Remove the intent: the operation is done (step 12)"),
    # plumbing: look-ups
    "resolve": (PLUMBING, "look-ups", "Print the id of the snapshot that a name refers to"),
    "cat-descriptor": (PLUMBING, "look-ups", "Print a snapshot's descriptor"),
    "list-snapshots": (PLUMBING, "look-ups", "List the visible snapshots"),
    "ls-tree": (PLUMBING, "look-ups", "List what a snapshot or directory holds"),
    "cat-file": (PLUMBING, "look-ups", "Print what a snapshot holds at a path"),
    "diff-tree": (PLUMBING, "look-ups", "List what differs between two trees"),
    "merge-base": (PLUMBING, "look-ups", "Print where the lines of two snapshots meet"),
    "merge-tree": (PLUMBING, "look-ups", "Print what merging three snapshots gives"),
    "probe-engine": (PLUMBING, "look-ups", "Print which engines work here, and what they cost"),
    "list-intents": (PLUMBING, "look-ups", "List the operations in flight"),
    # plumbing: checks
    "verify-snapshot": (PLUMBING, "checks", "Check one snapshot: descriptor, marker, every byte"),
    "chain-check": (PLUMBING, "checks", "Check a hash-chained log"),
    # plumbing: others
    "with-lock": (PLUMBING, "others", "Run a command while holding a worktree's lock"),
    "apply-tree": (PLUMBING, "others", "Make a directory equal to a tree, writing only what differs"),
    "write-stream": (PLUMBING, "others", "Write snapshots as a stream"),
    "read-stream": (PLUMBING, "others", "Receive a stream, and print the ids that are new"),
    "mark-live": (PLUMBING, "others", "List the snapshots that a collection must keep, and why"),
    "prune-snapshot": (PLUMBING, "others", "Remove one snapshot that nothing protects"),
}

ALIASES: dict[str, str] = {
    "wt list": "worktree list",
    "wt create": "worktree create",
    "wt fork": "worktree fork",
    "wt path": "worktree path",
    "wt rename": "worktree rename",
    "wt move": "worktree move",
    "wt attach": "worktree attach",
    "wt remove": "worktree remove",
    "fork": "worktree fork",
    "config show": "config list",
    "pin add": "gc pin",
    "pin list": "gc pins",
    "pin remove": "gc unpin",
}

GROUPS: dict[str, str] = {
    "start": "Start",
    "daily": "Every day",
    "worktrees": "Worktrees",
    "trust": "Trust",
    "space": "Space",
    "travel": "Elsewhere",
    "about": "About",
    "steps": "Steps of a snapshot",
    "look-ups": "Look-ups",
    "checks": "Checks",
    "others": "Others",
}


EVERY = "every command"


class CommonOption:
    """One option of every command, or of every command with a `form` of output: `jsonl`, `cbor`, `zero`."""

    __slots__ = ("dest", "form", "metavar", "name", "number", "repeatable", "text")

    def __init__(
        self,
        name: str,
        dest: str,
        text: str,
        metavar: str | None = None,
        *,
        form: str = EVERY,
        repeatable: bool = False,
        number: bool = False,
    ) -> None:
        self.name = name
        self.dest = dest
        self.text = text
        self.metavar = metavar
        self.form = form
        self.repeatable = repeatable
        self.number = number


COMMON_OPTIONS = (
    CommonOption("-C", "directory", "work as if started in DIR", "DIR", repeatable=True),
    CommonOption("--repo", "repo", "work on the repository in DIR, wherever one is", "DIR"),
    CommonOption("-c", "overrides", "use this setting for this run", "KEY=VALUE", repeatable=True),
    CommonOption("--json", "json", "print one JSON document"),
    CommonOption("--jsonl", "jsonl", "print one JSON object per line", form="jsonl"),
    CommonOption("--cbor", "cbor", "print a CBOR sequence, names as bytes", form="cbor"),
    CommonOption("-z", "zero", "end names with NUL, unquoted", form="zero"),
    CommonOption("--wait", "wait", "wait that long for a busy lock (30)", "SECONDS", number=True),
    CommonOption("--no-index", "no_index", "work without the index: same answers, slower"),
    CommonOption("--no-color", "no_color", "no colour"),
    CommonOption("--no-progress", "no_progress", "no progress bars"),
    CommonOption("--debug", "debug", "show each step with its milliseconds on stderr"),
)
"""The only list of them: parsers, dispatch (they may come before the word), completion and man pages read it."""
VALUE_OPTIONS = tuple(option.name for option in COMMON_OPTIONS if option.metavar is not None)
FLAG_OPTIONS = tuple(option.name for option in COMMON_OPTIONS if option.metavar is None)


def module_of(name: str) -> str:
    """Return the module that holds a command."""
    kind = COMMANDS[name][0]
    return f"jvs.{kind}.{name.replace(' ', '_').replace('-', '_')}"


def program_of(name: str) -> str:
    """Return how a command is called: `jvs snapshot`, `jvs-hash-tree`."""
    return f"jvs-{name}" if COMMANDS[name][0] == PLUMBING else f"jvs {name}"


def summary_of(name: str) -> str:
    """Return the one-line summary of a command."""
    return COMMANDS[name][2]


def first_words() -> set[str]:
    """Return the words that need a second one: `gc`, `worktree`, `config` and their aliases."""
    return {name.split(" ")[0] for name in (*COMMANDS, *ALIASES) if " " in name}
