"""The completion script for fish; it asks for the same things as those of bash and zsh.

Source: jvs-completion(1).
"""

from __future__ import annotations

from jvs.cli import commands, completion


def fish(shapes: list[completion.Shape]) -> str:
    """Return the script for fish."""
    lines = [
        "# fish completion for jvs: jvs completion fish | source",
        _functions(),
        "complete -c jvs -f",
    ]
    for word in completion.first_words():
        summary = commands.summary_of(word) if word in commands.COMMANDS else ""
        lines.append(_fish_line("jvs", "__jvs_is ''", f"-a {word}", summary))
    for first, seconds in completion.second_words().items():
        for second in seconds:
            name = f"{first} {second}"
            summary = commands.summary_of(commands.ALIASES.get(name, name))
            lines.append(_fish_line("jvs", f"__jvs_is '{first}'", f"-a {second}", summary))
    for name, shape in completion.all_names(shapes):
        plumbing = commands.COMMANDS.get(name, ("",))[0] == commands.PLUMBING
        program = f"jvs-{name}" if plumbing else "jvs"
        condition = "" if plumbing else f"__jvs_is '{name}'"
        if plumbing:
            lines.append(f"complete -c {program} -f")
        lines += [_fish_option(program, condition, option) for option in shape.options]
        kinds = dict.fromkeys([*(kind for kind, _ in shape.places), shape.rest[0]])
        lines += [
            _fish_line(program, condition, _fish_values(kind, []), "") for kind in kinds if kind != completion.NOTHING
        ]
        for _, choices in shape.places:
            if choices:
                lines.append(_fish_line(program, condition, _fish_values("", choices), ""))
    return "\n".join(lines) + "\n"


_FISH = r"""
function __jvs_words
    set -l words (commandline -opc)[2..]
    set -l skip 0
    for word in $words
        if test $skip = 1
            set skip 0
        else if contains -- $word @VALUES@
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end
function __jvs_is
    set -l words (__jvs_words)
    set -l wanted (string split -n ' ' -- $argv[1])
    if test (count $wanted) = 0
        test (count $words) = 0
        return
    end
    if contains -- "$argv[1]" @GROUPS@
        test "$words" = "$argv[1]"
        return
    end
    set -l n (count $wanted)
    test (count $words) -ge $n; and test "$words[1..$n]" = "$argv[1]"
end
function __jvs_dir
    set -l words (commandline -opc)
    set -l at (contains -i -- -C $words); and echo $words[(math $at + 1)]; or echo .
end
function __jvs_repo
    set -l words (commandline -opc)
    set -l at (contains -i -- --repo $words)
    if test -n "$at"
        echo $words[(math $at + 1)]
    else if not string replace -f -r '^--repo=' '' -- $words
        test -n "$JVS_REPO"; and echo $JVS_REPO
    end
end
function __jvs_named
    set -l repo (__jvs_repo)
    test -n "$repo"; and printf '%s\n' --repo $repo
end
function __jvs_control
    set -l d $argv[1]
    if test -d "$d/.jvs/worktrees"
        echo "$d/.jvs"
    else if test -f "$d/.jvs"; and not test -L "$d/.jvs"
        set -l way (string match -r -g '^{"control":"([^"\\\\]*)"' <"$d/.jvs")
        test -n "$way"; and test -d "$d/$way/worktrees"; and echo "$d/$way"
    else if test -f "$d/format_version"; and test -d "$d/worktrees"
        echo "$d"
    end
end
function __jvs_entries
    set -l d (realpath -- (__jvs_dir))
    set -l repo (__jvs_repo)
    if test -n "$repo"; and not string match -q -- '/*' $repo
        set repo "$d/$repo"
    end
    while test -n "$d"
        set -l control (__jvs_control (test -n "$repo"; and echo $repo; or echo $d))
        if test -n "$control"
            test -O "$control"; and not test -L "$control"; or return
            for name in "$control/$argv[1]"/*
                string replace -r '\.json$' '' -- (basename -- $name)
            end
            return
        end
        test -n "$repo"; and return
        set d (string replace -r '/[^/]*$' '' -- $d)
    end
end
function __jvs_dynamic
    switch $argv[1]
        case targets
            printf 'LATEST\nLATEST~1\nHEAD\nHEAD~1\n'
            jvs-list-snapshots -C (__jvs_dir) (__jvs_named) --format '{short_id}\t{subject}' 2>/dev/null
            __jvs_dynamic tags
        case tags
            jvs-list-snapshots -C (__jvs_dir) (__jvs_named) --format '{tags}' 2>/dev/null | string split -n ,
        case worktrees
            __jvs_entries worktrees
        case plans
            __jvs_entries gc/plans
        case keys
            jvs config list --keys -C (__jvs_dir) (__jvs_named) 2>/dev/null
        case engines
            printf '%s\n' @ENGINES@
        case commands
            printf '%s\n' @FIRST@
    end
end
"""


def _functions() -> str:
    words = {
        "@FIRST@": completion.first_words(),
        "@GROUPS@": sorted(completion.second_words()),
        "@ENGINES@": completion.engines(),
        "@VALUES@": list(commands.VALUE_OPTIONS),
    }
    text = _FISH.strip("\n")
    for mark, names in words.items():
        text = text.replace(mark, " ".join(names))
    return text


def _fish_option(program: str, condition: str, option: completion.Option) -> str:
    flags = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    if option.kind is not None:
        flags += (" -r " if option.kind == completion.FILES else " -x ") + _fish_values(option.kind, option.choices)
    return _fish_line(program, condition, flags, option.text)


def _fish_values(kind: str, choices: list[str]) -> str:
    if choices:
        return f"-a {completion.quoted(choices)}"
    if kind == completion.FILES:
        return "-F"
    if kind == completion.DIRS:
        return "-a '(__fish_complete_directories)'"
    return "" if kind == completion.NOTHING else f"-a '(__jvs_dynamic {kind})'"


def _fish_line(program: str, condition: str, rest: str, text: str) -> str:
    where = f' -n "{condition}"' if condition else ""
    shown = " -d " + completion.quoted([text.replace("%%", "%")]) if text else ""
    return f"complete -c {program}{where} {rest}{shown}".rstrip()
