"""What people type who come from other tools, and what to type here: hints for words that are no commands or options.

Only words that jvs itself does not use: a word that becomes a command leaves this table, which a test holds. Loaded
after the mistake, never before.
Source: jvs-help(1).
"""

from __future__ import annotations

COMMANDS: dict[str, str] = {
    # git, jj, hg
    "add": "nothing is staged: 'jvs snapshot' takes all files as they are",
    "blame": "'jvs diff' compares snapshots; which one changed a file, 'jvs history' and 'jvs diff' tell",
    "branch": "'jvs fork NAME' makes a second worktree, 'jvs worktree list' lists them",
    "checkout": "'jvs restore TARGET' brings files back; 'jvs fork TARGET NAME' opens a snapshot next to them",
    "cherry-pick": "'jvs restore TARGET -- PATH...' takes some paths of a snapshot",
    "ci": "'jvs snapshot \"what changed\"' takes a snapshot of all files",
    "co": "'jvs restore TARGET' brings files back; 'jvs fork TARGET NAME' opens a snapshot next to them",
    "commit": "'jvs snapshot \"what changed\"' takes a snapshot of all files; nothing is staged",
    "fsck": "'jvs verify --all' checks every snapshot, 'jvs doctor --strict' everything",
    "log": "'jvs history' lists the snapshots, newest first",
    "mv": "move files as you like: 'jvs snapshot' takes them as they are",
    "pull": "repositories do not talk to each other; copy one with 'jvs-sync SRC DST'",
    "push": "repositories do not talk to each other; copy one with 'jvs-sync SRC DST'",
    "reflog": "'jvs undo --list' lists what can be undone; the audit log has everything (jvs-audit(5))",
    "reset": "'jvs restore LATEST' brings the files back to the latest snapshot; 'jvs undo' reverses that",
    "revert": "'jvs restore TARGET' brings a snapshot back, 'jvs undo' reverses the last operation",
    "rm": "remove files as you like: 'jvs snapshot' takes what is there",
    "stage": "nothing is staged: 'jvs snapshot' takes all files as they are",
    "stash": "'jvs snapshot' keeps the files as they are, 'jvs restore LATEST~1' goes on from the one before",
    "switch": "each worktree is a directory of its own: 'cd \"$(jvs worktree path NAME)\"'",
    # restic, borg
    "backup": "'jvs snapshot' takes a snapshot of all files",
    "check": "'jvs verify --all' checks every snapshot, 'jvs doctor --strict' everything",
    "create": "'jvs snapshot' takes a snapshot; 'jvs init NAME' makes a repository",
    "find": "the files of every snapshot can be searched as they are: 'jvs show TARGET' says where",
    "forget": "'jvs gc plan' says which snapshots can go, 'jvs gc run' removes them",
    "list": "'jvs history' lists the snapshots, 'jvs worktree list' the worktrees",
    "mount": "a snapshot is a directory already: 'jvs show TARGET' says where",
    "prune": "'jvs gc plan' says which snapshots can go, 'jvs gc run' removes them",
    "snapshots": "'jvs history' lists the snapshots",
    "stats": "'jvs info' shows the repository, 'jvs gc plan' what could be freed",
    # save points, checkpoints, other versions of jvs
    "checkpoint": "'jvs snapshot' takes a snapshot of all files",
    "rewind": "'jvs restore TARGET' brings a snapshot back; 'jvs undo' reverses the last operation",
    "rollback": "'jvs restore TARGET' brings a snapshot back; 'jvs undo' reverses the last operation",
    "save": "'jvs snapshot \"what changed\"' takes a snapshot of all files",
    "settings": "'jvs config list' lists the settings",
    "view": "'jvs show TARGET' shows a snapshot and where its files are",
    "workspace": "'jvs worktree list' lists the worktrees, 'jvs fork NAME' makes one",
}

OPTIONS: dict[tuple[str, str], str] = {
    ("snapshot", "-a"): "nothing is staged: every snapshot takes all files",
    ("snapshot", "--all"): "nothing is staged: every snapshot takes all files",
    ("snapshot", "--amend"): "a snapshot never changes; take another",
    ("snapshot", "--compress"): "payloads are directories as they are; let the filesystem compress (btrfs does)",
    ("restore", "--hard"): "'jvs restore TARGET' replaces all files; what it displaces is kept for 'jvs undo'",
    ("restore", "--force"): "a restore keeps what it displaces for 'jvs undo': it needs no force",
    ("restore", "-b"): "'jvs fork TARGET NAME' makes a worktree of a snapshot",
    ("history", "--author"): "'jvs history --format \"{actor} {subject}\"' shows who took each",
    ("history", "-p"): "'jvs diff -p FROM TO' prints what changed as a patch",
    ("history", "--stat"): "'jvs diff FROM TO' lists what changed",
}


def command(word: str) -> str | None:
    """Return what to type instead of a word that is no command here."""
    return COMMANDS.get(word)


def option(command: str, message: str) -> str | None:
    """Return what to do instead of an option that `command` does not have, by the message that says so."""
    words = message.partition("unrecognized arguments: ")[2].split()
    found = (OPTIONS.get((command, word.partition("=")[0])) for word in words)
    return next((hint for hint in found if hint is not None), None)
