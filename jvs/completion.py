"""Completion scripts for bash, zsh and fish, made from the parsers of all commands.

What never changes (commands, options, fixed values) stands in the script; worktrees and plans are read from the
repository's directories, snapshots, tags and settings through `jvs-list-snapshots` and `jvs config list`.
Source: jvs-completion(1).
"""

from __future__ import annotations

from jvs import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

SHELLS = ("bash", "zsh", "fish")
TARGETS, WORKTREES, TAGS, PLANS, KEYS = "targets", "worktrees", "tags", "plans", "keys"
ENGINES, FILES, DIRS, COMMANDS, NOTHING = "engines", "files", "dirs", "commands", "nothing"
_BY_METAVAR = {
    "TARGET": TARGETS,
    "T": TARGETS,
    "FROM": TARGETS,
    "TO": TARGETS,
    "SNAPSHOT": TARGETS,
    "TAG": TAGS,
    "KEY": KEYS,
    "ENGINE": ENGINES,
    "DIR": DIRS,
    "STORE": DIRS,
    "FILE": FILES,
    "PATH": FILES,
    "P": FILES,
    "WHAT": TARGETS,
    "A": TARGETS,
    "B": TARGETS,
    "COMMAND": COMMANDS,
}
_EXISTING_WORKTREE = (
    "worktree path",
    "worktree rename",
    "worktree remove",
    "with-lock",
    "update-head",
    "check-worktree",
)


class Option:
    """One option: its names, what its value is (None: it has none), fixed values, and its help."""

    def __init__(self, names: list[str], kind: str | None, choices: list[str], text: str) -> None:
        self.names = names
        self.kind = kind
        self.choices = choices
        self.text = text


class Shape:
    """What can stand behind one command."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.options: list[Option] = []
        self.places: list[tuple[str, list[str]]] = []
        self.rest: tuple[str, list[str]] = (NOTHING, [])

    def place(self, index: int) -> tuple[str, list[str]]:
        """Return what the positional argument of that number is."""
        return self.places[index] if index < len(self.places) else self.rest


def shape_of(name: str, parser: argparse.ArgumentParser) -> Shape:
    """Read a parser."""
    shape = Shape(name)
    for action in parser._actions:
        choices = [str(choice) for choice in action.choices or ()]
        if action.option_strings:
            kind = None if action.nargs == 0 else _kind(name, action)
            shape.options.append(Option(list(action.option_strings), kind, choices, action.help or ""))
        elif action.nargs in ("*", "+", "..."):
            shape.rest = (_kind(name, action), choices)
        else:
            shape.places.append((_kind(name, action), choices))
    return shape


def _kind(name: str, action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if "-w" in action.option_strings or (metavar in ("NAME", "OLD", "WORKTREE") and name in _EXISTING_WORKTREE):
        return WORKTREES
    if "--plan-id" in action.option_strings:
        return PLANS
    if "-c" in action.option_strings:
        return KEYS
    if metavar == "NOTE" or (metavar == "T" and "--tag" in action.option_strings):
        return TAGS if metavar == "T" else NOTHING
    return _BY_METAVAR.get(metavar.strip("[]").split("]")[0], NOTHING)


def script(shell: str, shapes: list[Shape]) -> str:
    """Return the script for a shell."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](shapes)


def _quoted(words: Iterable[str]) -> str:
    return "'" + " ".join(words).replace("'", "'\\''") + "'"


def _second_words() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in (*commands.COMMANDS, *commands.ALIASES):
        first, _, second = name.partition(" ")
        if second:
            found.setdefault(first, []).append(second)
    return found


def _first_words() -> list[str]:
    words = [n.split(" ")[0] for n, row in commands.COMMANDS.items() if row[0] == commands.PORCELAIN]
    return sorted({*words, *(name.split(" ")[0] for name in commands.ALIASES)})


def _programs() -> list[str]:
    return [commands.program_of(name) for name, row in commands.COMMANDS.items() if row[0] == commands.PLUMBING]


def _all_names(shapes: list[Shape]) -> list[tuple[str, Shape]]:
    """Return every way to call a command with its shape, aliases included."""
    by_name = {shape.name: shape for shape in shapes}
    pairs = list(by_name.items())
    return pairs + [(alias, by_name[real]) for alias, real in commands.ALIASES.items() if real in by_name]


_COMMON = r"""
_jvs_root() {
    local d=${_jvs_dir:-$PWD}
    case $d in /*) ;; *) d=$PWD/$d ;; esac
    while [ -n "$d" ]; do
        if [ -d "$d/.jvs/worktrees" ]; then printf '%s\n' "$d/.jvs"; return; fi
        d=${d%/*}
    done
}
_jvs_entries() {
    local root name
    root=$(_jvs_root)
    [ -n "$root" ] && ls -1 "$root/$1" 2>/dev/null | while IFS= read -r name; do printf '%s\n' "${name%.json}"; done
}
_jvs_list() {
    jvs-list-snapshots ${_jvs_dir:+-C "$_jvs_dir"} --format "$1" 2>/dev/null
}
_jvs_dynamic() {
    case $1 in
        targets) printf 'HEAD\nHEAD~1\n'; _jvs_list '{short_id}\n{tags}' | tr ',' '\n' ;;
        tags) _jvs_list '{tags}' | tr ',' '\n' ;;
        worktrees) _jvs_entries worktrees ;;
        plans) _jvs_entries gc/plans ;;
        keys) jvs config list --keys ${_jvs_dir:+-C "$_jvs_dir"} 2>/dev/null ;;
        engines) printf '%s\n' juicefs-clone btrfs-snapshot reflink-copy copy ;;
        commands) printf '%s\n' @FIRST@ ;;
    esac
}
"""


def _tables(shapes: list[Shape]) -> str:
    """Return the static part, as functions that bash and zsh both understand."""
    options, values, places = [], [], []
    for name, shape in _all_names(shapes):
        words = [option for item in shape.options for option in item.names]
        options.append(f"        '{name}') printf '%s\\n' {' '.join(words)} ;;")
        for item in shape.options:
            if item.kind is not None:
                for option in item.names:
                    values.append(f"        '{name}:{option}') {_answer(item.kind, item.choices)} ;;")
        for index, (kind, choices) in enumerate(shape.places):
            places.append(f"        '{name}:{index}') {_answer(kind, choices)} ;;")
        if shape.rest[0] != NOTHING or shape.rest[1]:
            places.append(f"        '{name}:'*) {_answer(*shape.rest)} ;;")
    seconds = [f"        {word}) printf '%s\\n' {' '.join(names)} ;;" for word, names in _second_words().items()]
    return "\n".join(
        [
            _COMMON.replace("@FIRST@", " ".join(_first_words())),
            "_jvs_seconds() {\n    case $1 in",
            *seconds,
            "    esac\n}",
            "_jvs_options() {\n    case $1 in",
            *options,
            "    esac\n}",
            "# What the value of an option is: 'kind' and fixed words; nothing for an option without a value.",
            "_jvs_value() {\n    case $1 in",
            *values,
            "    esac\n}",
            "_jvs_place() {\n    case $1 in",
            *places,
            "    esac\n}",
        ]
    )


def _answer(kind: str, choices: list[str]) -> str:
    return "echo " + (f"words {' '.join(choices)}" if choices else kind)


_SCAN = r"""
# Sets command, place, wanted (what can stand here) and options (1 where an option can).
_jvs_scan() {
    local word value expect= first=
    command= place=0 wanted= options=1 _jvs_dir=
    case $1 in jvs-*) command=${1#jvs-} ;; esac
    shift
    for word in "$@"; do
        if [ -n "$expect" ]; then
            [ "$expect" = -C ] && _jvs_dir=$word
            expect=
            continue
        fi
        case $word in
            --) options= ;;
            -*)
                value=$(_jvs_value "${command:-status}:$word")
                case $word in *=*) ;; *) [ -n "$value" ] && expect=$word ;; esac
                ;;
            *)
                if [ -z "$command" ]; then
                    if [ -n "$first" ]; then command="$first $word"
                    elif [ -n "$(_jvs_seconds "$word")" ] && [ -z "$(_jvs_options "$word")" ]; then first=$word
                    else command=$word; fi
                else
                    place=$((place + 1))
                fi
                ;;
        esac
    done
    if [ -n "$expect" ]; then wanted=$(_jvs_value "${command:-status}:$expect"); options=
    elif [ -n "$first" ] && [ -z "$command" ]; then wanted="words $(_jvs_seconds "$first" | tr '\n' ' ')"
    elif [ -z "$command" ]; then wanted=commands
    elif [ -z "$options" ]; then wanted=files
    else wanted=$(_jvs_place "$command:$place"); fi
}
"""


def _bash(shapes: list[Shape]) -> str:
    return "\n".join(
        [
            '# bash completion for jvs: eval "$(jvs completion bash)"',
            _tables(shapes),
            _SCAN,
            r"""
_jvs() {
    local cur=${COMP_WORDS[COMP_CWORD]} command place wanted options _jvs_dir
    local -a before=("${COMP_WORDS[@]:0:COMP_CWORD}")
    if [[ $cur == = ]]; then cur=; fi
    # bash takes '--option=value' apart at the equals sign
    if [[ ${before[-1]} == = ]]; then unset 'before[-1]'; fi
    before[0]=${before[0]##*/}
    _jvs_scan "${before[@]}"
    COMPREPLY=()
    if [[ $cur == -* && -n $options ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_jvs_options "${command:-status}")" -- "$cur")
        return
    fi
    case $wanted in
        words*) mapfile -t COMPREPLY < <(compgen -W "${wanted#words}" -- "$cur") ;;
        files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        dirs) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        '' | nothing) ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$(_jvs_dynamic "$wanted")" -- "$cur") ;;
    esac
}""",
            f"complete -F _jvs jvs {' '.join(_programs())}",
            "",
        ]
    )


def _zsh(shapes: list[Shape]) -> str:
    programs = " ".join(["jvs", *_programs()])
    return "\n".join(
        [
            f"#compdef {programs}",
            '# zsh completion for jvs: eval "$(jvs completion zsh)", or a file `_jvs` on fpath',
            _tables(shapes),
            _SCAN,
            r"""
_jvs() {
    emulate -L zsh
    setopt shwordsplit
    local command place wanted options _jvs_dir cur=${words[CURRENT]}
    local -a before found
    before=("${(@)words[1,CURRENT-1]}")
    before[1]=${before[1]:t}
    _jvs_scan "${before[@]}"
    if [[ $cur == --*=* ]]; then
        wanted=$(_jvs_value "${command:-status}:${cur%%=*}")
        compset -P '*='
    elif [[ $cur == -* && -n $options ]]; then
        found=("${(@f)$(_jvs_options "${command:-status}")}")
        compadd -- "${found[@]}"
        return
    fi
    case $wanted in
        words*) found=(${=wanted#words}); compadd -- "${found[@]}" ;;
        files) _files ;;
        dirs) _files -/ ;;
        '' | nothing) ;;
        *) found=("${(@f)$(_jvs_dynamic "$wanted")}"); found=(${found:#}); compadd -- "${found[@]}" ;;
    esac
}""",
            f'if [[ ${{funcstack[1]}} == _jvs ]]; then _jvs "$@"; else compdef _jvs {programs}; fi',
            "",
        ]
    )


def _fish(shapes: list[Shape]) -> str:
    lines = [
        "# fish completion for jvs: jvs completion fish | source",
        _FISH.strip("\n"),
        "complete -c jvs -f",
    ]
    for word in _first_words():
        summary = commands.summary_of(word) if word in commands.COMMANDS else ""
        lines.append(_fish_line("jvs", "__jvs_is ''", f"-a {word}", summary))
    for first, seconds in _second_words().items():
        for second in seconds:
            name = f"{first} {second}"
            summary = commands.summary_of(commands.ALIASES.get(name, name))
            lines.append(_fish_line("jvs", f"__jvs_is '{first}'", f"-a {second}", summary))
    for name, shape in _all_names(shapes):
        plumbing = commands.COMMANDS.get(name, ("",))[0] == commands.PLUMBING
        program = f"jvs-{name}" if plumbing else "jvs"
        condition = "" if plumbing else f"__jvs_is '{name}'"
        if plumbing:
            lines.append(f"complete -c {program} -f")
        lines += [_fish_option(program, condition, option) for option in shape.options]
        kinds = dict.fromkeys([*(kind for kind, _ in shape.places), shape.rest[0]])
        lines += [_fish_line(program, condition, _fish_values(kind, []), "") for kind in kinds if kind != NOTHING]
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
        else if contains -- $word -C -c --wait
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
function __jvs_entries
    set -l d (realpath -- (__jvs_dir))
    while test -n "$d"
        if test -d "$d/.jvs/worktrees"
            for name in "$d/.jvs/$argv[1]"/*
                string replace -r '\.json$' '' -- (basename -- $name)
            end
            return
        end
        set d (string replace -r '/[^/]*$' '' -- $d)
    end
end
function __jvs_dynamic
    switch $argv[1]
        case targets
            printf 'HEAD\nHEAD~1\n'
            jvs-list-snapshots -C (__jvs_dir) --format '{short_id}\t{subject}' 2>/dev/null
            __jvs_dynamic tags
        case tags
            jvs-list-snapshots -C (__jvs_dir) --format '{tags}' 2>/dev/null | string split -n ,
        case worktrees
            __jvs_entries worktrees
        case plans
            __jvs_entries gc/plans
        case keys
            jvs config list --keys -C (__jvs_dir) 2>/dev/null
        case engines
            printf '%s\n' juicefs-clone btrfs-snapshot reflink-copy copy
        case commands
            printf '%s\n' @FIRST@
    end
end
""".replace("@FIRST@", " ".join(_first_words())).replace("@GROUPS@", " ".join(sorted(_second_words())))


def _fish_option(program: str, condition: str, option: Option) -> str:
    flags = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    if option.kind is not None:
        flags += (" -r " if option.kind == FILES else " -x ") + _fish_values(option.kind, option.choices)
    return _fish_line(program, condition, flags, option.text)


def _fish_values(kind: str, choices: list[str]) -> str:
    if choices:
        return f"-a {_quoted(choices)}"
    if kind == FILES:
        return "-F"
    if kind == DIRS:
        return "-a '(__fish_complete_directories)'"
    return "" if kind == NOTHING else f"-a '(__jvs_dynamic {kind})'"


def _fish_line(program: str, condition: str, rest: str, text: str) -> str:
    where = f' -n "{condition}"' if condition else ""
    shown = " -d " + _quoted([text.replace("%%", "%")]) if text else ""
    return f"complete -c {program}{where} {rest}{shown}".rstrip()
