"""What people type who come from other tools, and what to type here: hints for words that are no commands or options.

Only words that jvs itself does not use: a word that becomes a command leaves this table, which a test holds. Loaded
after the mistake, never before.
Source: jvs-help(1).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: dict[str, str] = {
    # git, jj, hg
    "add": "nothing is staged: 'jvs snapshot' takes all files as they are",
    "archive": "a snapshot is a directory already, 'jvs show TARGET' says where; 'jvs send TARGET' writes a stream",
    "blame": "'jvs history -- PATH' lists the snapshots that changed a file",
    "branch": "'jvs fork NAME' makes a second worktree, 'jvs worktree list' lists them",
    "checkout": "'jvs restore TARGET' brings files back; 'jvs fork TARGET NAME' opens a snapshot next to them",
    "cherry-pick": "'jvs restore TARGET -- PATH...' takes some paths of a snapshot",
    "ci": "'jvs snapshot \"what changed\"' takes a snapshot of all files",
    "clean": "'jvs restore LATEST' brings the files back to the latest snapshot; 'jvs undo' reverses that",
    "co": "'jvs restore TARGET' brings files back; 'jvs fork TARGET NAME' opens a snapshot next to them",
    "commit": "'jvs snapshot \"what changed\"' takes a snapshot of all files; nothing is staged",
    "fetch": "'jvs send' there and 'jvs receive' here bring snapshots over",
    "fsck": "'jvs verify --all' checks every snapshot, 'jvs doctor --strict' everything",
    "log": "'jvs history' lists the snapshots, newest first",
    "ls-files": "'jvs ls LATEST' lists what the latest snapshot holds, 'jvs status' what changed since",
    "mv": "move files as you like: 'jvs snapshot' takes them as they are",
    "pull": "'jvs send' there and 'jvs receive' here bring snapshots over, 'jvs merge' their files",
    "push": "'jvs send' here and 'jvs receive' there bring snapshots over",
    "rebase": "'jvs merge NAME' brings the work of a fork into this worktree",
    "reflog": "'jvs undo --list' lists what can be undone; the audit log has everything (jvs-audit(5))",
    "remote": "no other place is remembered: 'jvs send' writes a stream, 'jvs receive' reads it",
    "reset": "'jvs restore LATEST' brings the files back to the latest snapshot; 'jvs undo' reverses that",
    "rev-parse": "'jvs-resolve TARGET' prints the id of a snapshot",
    "revert": "'jvs restore TARGET' brings a snapshot back, 'jvs undo' reverses the last operation",
    "rm": "remove files as you like: 'jvs snapshot' takes what is there",
    "stage": "nothing is staged: 'jvs snapshot' takes all files as they are",
    "stash": "'jvs snapshot' keeps the files as they are, 'jvs restore LATEST~1' goes on from the one before",
    "switch": "each worktree is a directory of its own: 'cd \"$(jvs worktree path NAME)\"'",
    # restic, borg
    "backup": "'jvs snapshot' takes a snapshot of all files",
    "cache": "the index is all that is cached, and is made again by itself: 'jvs info' says where it is",
    "check": "'jvs verify --all' checks every snapshot, 'jvs doctor --strict' everything",
    "copy": "'jvs send' and 'jvs receive' carry snapshots to another repository",
    "create": "'jvs snapshot' takes a snapshot; 'jvs init NAME' makes a repository",
    "dump": "'jvs cat TARGET:PATH' prints a file as a snapshot holds it",
    "extract": "'jvs restore TARGET' brings files back; 'jvs fork TARGET NAME' opens a snapshot next to them",
    "find": "'jvs history -- PATH' lists the snapshots that changed a path, also by a pattern such as '*.py'",
    "forget": "'jvs gc plan' says which snapshots can go, 'jvs gc run' removes them",
    "key": "nothing is encrypted: that is for the filesystem, or for where a stream is kept",
    "list": "'jvs history' lists the snapshots, 'jvs worktree list' the worktrees",
    "mount": "a snapshot is a directory already: 'jvs show TARGET' says where",
    "prune": "'jvs gc plan' says which snapshots can go, 'jvs gc run' removes them",
    "snapshots": "'jvs history' lists the snapshots",
    "stats": "'jvs info' shows the repository, 'jvs gc plan' what could be freed",
    "unlock": "a lock goes with the process that holds it; 'jvs doctor' says what a dead one left",
    # save points, checkpoints, other versions of jvs
    "checkpoint": "'jvs snapshot' takes a snapshot of all files",
    "migrate": "'jvs-import SOURCE TARGET' takes over a repository of format 1",
    "rewind": "'jvs restore TARGET' brings a snapshot back; 'jvs undo' reverses the last operation",
    "rollback": "'jvs restore TARGET' brings a snapshot back; 'jvs undo' reverses the last operation",
    "save": "'jvs snapshot \"what changed\"' takes a snapshot of all files",
    "settings": "'jvs config list' lists the settings",
    "view": "'jvs show TARGET' shows a snapshot and where its files are",
    "workspace": "'jvs worktree list' lists the worktrees, 'jvs fork NAME' makes one",
}

SECOND: dict[str, str] = {
    "config add": "'jvs config set KEY VALUE' changes a setting",
    "config edit": "'jvs config set KEY VALUE' changes a setting; jvs-config(5) says which files hold them",
    "gc prune": "'jvs gc plan' says which snapshots can go, 'jvs gc run' removes them",
    "worktree add": "'jvs fork NAME' makes a worktree from the latest snapshot, 'jvs fork TARGET NAME' from another",
    "worktree delete": "'jvs worktree remove NAME' removes it, and keeps what no snapshot holds",
    "worktree new": "'jvs fork NAME' makes one from the latest snapshot, 'jvs worktree create NAME' an empty one",
    "worktree prune": "nothing is left of a removed worktree; 'jvs worktree attach PATH' finds one that was moved",
    "worktree switch": "each worktree is a directory of its own: 'cd \"$(jvs worktree path NAME)\"'",
}

OPTIONS: dict[tuple[str, str], str] = {
    ("config", "--get"): "'jvs config get KEY' prints one setting",
    ("config", "--global"): "'jvs config set --user KEY VALUE' changes a setting of your own",
    ("config", "--list"): "'jvs config list' lists the settings",
    ("config", "-l"): "'jvs config list' lists the settings",
    ("diff", "--cached"): "nothing is staged: 'jvs diff' compares with the files as they are",
    ("diff", "--staged"): "nothing is staged: 'jvs diff' compares with the files as they are",
    (
        "doctor",
        "--fix",
    ): "'jvs doctor --repair-runtime' recovers what dead operations left; findings name their repair",
    ("gc", "--keep"): "'jvs gc plan --keep-last N' says which snapshots can go, 'jvs gc run' removes them",
    ("gc", "--keep-last"): "'jvs gc plan --keep-last N' says which snapshots can go, 'jvs gc run' removes them",
    ("gc", "--prune"): "'jvs gc plan' says which snapshots can go, 'jvs gc run' removes them",
    ("history", "--author"): "'jvs history --format \"{actor} {subject}\"' shows who took each",
    ("history", "-p"): "'jvs diff -p FROM TO' prints what changed as a patch",
    ("history", "--stat"): "'jvs diff FROM TO' lists what changed",
    ("init", "--bare"): "'jvs init --here DIR --control C' keeps history outside of the workspace",
    ("merge", "--abort"): "a merge with conflicts changes nothing; 'jvs undo' reverses one that was done",
    ("merge", "--continue"): "a merge with conflicts changes nothing: decide with --ours, --theirs or --both",
    ("restore", "--hard"): "'jvs restore TARGET' replaces all files; what it displaces is kept for 'jvs undo'",
    ("restore", "--force"): "a restore keeps what it displaces for 'jvs undo': it needs no force",
    ("restore", "-f"): "a restore keeps what it displaces for 'jvs undo': it needs no force",
    ("restore", "-b"): "'jvs fork TARGET NAME' makes a worktree of a snapshot",
    ("restore", "--source"): "'jvs restore TARGET -- PATH...' takes some paths of a snapshot",
    ("restore", "--target"): "files come back in their place; 'jvs fork TARGET NAME' opens a snapshot elsewhere",
    ("show", "--stat"): "'jvs diff TARGET~1 TARGET' lists what changed",
    ("snapshot", "-a"): "nothing is staged: every snapshot takes all files",
    ("snapshot", "-am"): "nothing is staged: 'jvs snapshot -m \"what changed\"' takes all files",
    ("snapshot", "--all"): "nothing is staged: every snapshot takes all files",
    ("snapshot", "--amend"): "a snapshot never changes; 'jvs note TARGET TEXT' gives it another note",
    ("snapshot", "--compress"): "payloads are directories as they are; let the filesystem compress (btrfs does)",
    ("snapshot", "--dry-run"): "'jvs status' shows what a snapshot would take",
    ("tag", "-a"): "'jvs tag TARGET NAME' gives a snapshot a tag",
    ("tag", "-l"): "'jvs history' shows the tags; 'jvs tag TARGET' prints those of one snapshot",
    ("tag", "--list"): "'jvs history' shows the tags; 'jvs tag TARGET' prints those of one snapshot",
    ("verify", "--deep"): "'jvs verify --all' reads every byte of every snapshot",
    ("verify", "--read-data"): "'jvs verify --all' reads every byte of every snapshot",
}


def command(words: str) -> str | None:
    """Return what to type instead of a word, or of two, that is no command here."""
    return COMMANDS.get(words) or SECOND.get(words)


def option(command: str, words: Sequence[str]) -> str | None:
    """Return what to do instead of an option that `command` does not have, by the words that it was given."""
    own = words[: words.index("--")] if "--" in words else words
    found = (OPTIONS.get((command, word.partition("=")[0])) for word in own)
    return next((hint for hint in found if hint is not None), None)
