#!/bin/sh
# Take a snapshot with plumbing commands alone, and print its id.
#
# usage: snapshot.sh [WORKTREE [NOTE [TAG...]]]
#
# Leaves the same repository as `jvs snapshot`. Runs anywhere inside the repository.
# The steps hand one JSON object, the publish record, from pipe to pipe. A step that fails says why, writes nothing to
# its stdout, and so stops all that follow; `jvs-with-lock` recovered what was dead before, and the next command recovers
# what this leaves when it dies.
# Exit status: that of the first step that failed, else 0: the snapshot is whole, durable and visible.
set -eu

if [ "${JVS_SNAPSHOT_LOCKED-}" = "" ]; then
    worktree=${1-main}
    [ $# -eq 0 ] || shift
    JVS_SNAPSHOT_LOCKED=$$
    export JVS_SNAPSHOT_LOCKED
    exec jvs-with-lock "$worktree" -- sh "$0" "$worktree" "$@"
fi
unset JVS_SNAPSHOT_LOCKED

worktree=$1
note=${2-}
if [ $# -gt 2 ]; then shift 2; else shift $#; fi
for tag; do # turns each TAG into --tag TAG
    set -- "$@" --tag "$tag"
    shift
done

status=0
failed=$(mktemp)
trap 'rm -f "$failed"' EXIT

# Run one step; note the exit code of the first one that fails. Later ones only find their stdin empty.
step() {
    "$@" || {
        code=$?
        [ -s "$failed" ] || echo "$code" >"$failed"
    }
}

# The intent's owner is this shell, for as long as the whole pipeline runs.
id=$(
    step jvs-check-worktree --record "$worktree" |
        step jvs-write-intent --record --owner-pid $$ |
        step jvs-clone-tree --record |
        step jvs-hash-tree --record |
        step jvs-sync-tree --record |
        step jvs-write-descriptor --record --note "$note" "$@" |
        step jvs-write-ready --record |
        step jvs-rename-ready --record |
        step jvs-update-head --record |
        step jvs-chain-append --record |
        step jvs-clear-intent --record |
        sed -n 's/.*"snapshot_id":"\([0-9a-f-]*\)".*/\1/p'
)
[ ! -s "$failed" ] || read -r status <"$failed"
[ "$status" -eq 0 ] || exit "$status"
printf '%s\n' "$id"
