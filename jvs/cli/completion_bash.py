"""Completion scripts for bash and zsh, which share their tables and the scan of a command line.

What never changes (commands, options, fixed values) is in the script; worktrees and plans are read from the
repository's directories, snapshots, tags and settings through `jvs-list-snapshots` and `jvs config list`.
Source: jvs-completion(1).
"""

from __future__ import annotations

from jvs.cli import completion

_COMMON = r"""
_jvs_control() { # the control directory of the repository in a directory, or that its pointer leads to
    local way
    if [ -d "$1/.jvs/worktrees" ]; then
        printf '%s\n' "$1/.jvs"
    elif [ -f "$1/.jvs" ] && [ ! -L "$1/.jvs" ]; then
        way=$(sed -n 's/^{"control":"\([^"\\]*\)".*/\1/p' "$1/.jvs" 2>/dev/null)
        [ -n "$way" ] && [ -d "$1/$way/worktrees" ] && printf '%s\n' "$1/$way"
    elif [ -f "$1/format_version" ] && [ -d "$1/worktrees" ]; then
        printf '%s\n' "$1"
    fi
}
_jvs_root() {
    local d=${_jvs_dir:-$PWD} control repo=${_jvs_repo:-$JVS_REPO}
    case $d in /*) ;; *) d=$PWD/$d ;; esac
    case $repo in '' | /*) ;; *) repo=$d/$repo ;; esac
    while [ -n "$d" ]; do
        control=$(_jvs_control "${repo:-$d}")
        if [ -n "$control" ]; then
            # a repository of another user offers nothing: its names are not ours
            [ -O "$control" ] && [ ! -L "$control" ] && printf '%s\n' "$control"
            return
        fi
        [ -n "$repo" ] && return
        d=${d%/*}
    done
}
_jvs_entries() {
    local root name
    root=$(_jvs_root)
    [ -n "$root" ] && ls -1 "$root/$1" 2>/dev/null | while IFS= read -r name; do printf '%s\n' "${name%.json}"; done
}
_jvs_list() {
    jvs-list-snapshots ${_jvs_dir:+-C "$_jvs_dir"} ${_jvs_repo:+--repo "$_jvs_repo"} --format "$1" 2>/dev/null
}
_jvs_dynamic() {
    case $1 in
        targets) printf 'LATEST\nLATEST~1\nHEAD\nHEAD~1\n'; _jvs_list '{short_id}\n{tags}' | tr ',' '\n' ;;
        tags) _jvs_list '{tags}' | tr ',' '\n' ;;
        worktrees) _jvs_entries worktrees ;;
        plans) _jvs_entries gc/plans ;;
        keys) jvs config list --keys ${_jvs_dir:+-C "$_jvs_dir"} ${_jvs_repo:+--repo "$_jvs_repo"} 2>/dev/null ;;
        engines) printf '%s\n' @ENGINES@ ;;
        commands) printf '%s\n' @FIRST@ ;;
    esac
}
"""


def _tables(shapes: list[completion.Shape]) -> str:
    """Return the static part, as functions that bash and zsh both understand."""
    options, values, places = [], [], []
    for name, shape in completion.all_names(shapes):
        words = [option for item in shape.options for option in item.names]
        options.append(f"        '{name}') printf '%s\\n' {' '.join(words)} ;;")
        for item in shape.options:
            if item.kind is not None:
                for option in item.names:
                    values.append(f"        '{name}:{option}') {_answer(item.kind, item.choices)} ;;")
        for index, (kind, choices) in enumerate(shape.places):
            places.append(f"        '{name}:{index}') {_answer(kind, choices)} ;;")
        if shape.rest[0] != completion.NOTHING or shape.rest[1]:
            places.append(f"        '{name}:'*) {_answer(*shape.rest)} ;;")
    seconds = [
        f"        {word}) printf '%s\\n' {' '.join(names)} ;;" for word, names in completion.second_words().items()
    ]
    return "\n".join(
        [
            _COMMON.replace("@FIRST@", " ".join(completion.first_words())).replace(
                "@ENGINES@", " ".join(completion.engines())
            ),
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
    command= place=0 wanted= options=1 _jvs_dir= _jvs_repo=
    case $1 in jvs-*) command=${1#jvs-} ;; esac
    shift
    for word in "$@"; do
        if [ -n "$expect" ]; then
            [ "$word" = = ] && continue
            [ "$expect" = -C ] && _jvs_dir=$word
            [ "$expect" = --repo ] && _jvs_repo=$word
            expect=
            continue
        fi
        case $word in
            --) options= ;;
            --repo=*) _jvs_repo=${word#--repo=} ;;
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


def bash(shapes: list[completion.Shape]) -> str:
    """Return the script for bash."""
    return "\n".join(
        [
            '# bash completion for jvs: eval "$(jvs completion bash)"',
            _tables(shapes),
            _SCAN,
            r"""
# Offers those words of stdin, one a line, that begin as the current one; quoted. compgen -W would evaluate them.
_jvs_offer() {
    local word quoted
    while IFS= read -r word; do
        [[ -z $word || $word == *[[:cntrl:]]* || $word != "$cur"* ]] && continue
        printf -v quoted '%q' "$word"
        COMPREPLY+=("$quoted")
    done
}
_jvs() {
    local cur=${COMP_WORDS[COMP_CWORD]} command place wanted options _jvs_dir _jvs_repo
    local -a before=("${COMP_WORDS[@]:0:COMP_CWORD}")
    if [[ $cur == = ]]; then cur=; fi
    # bash takes '--option=value' apart at the equals sign
    if [[ ${before[-1]} == = ]]; then unset 'before[-1]'; fi
    before[0]=${before[0]##*/}
    _jvs_scan "${before[@]}"
    COMPREPLY=()
    if [[ $cur == -* && -n $options ]]; then
        _jvs_offer < <(_jvs_options "${command:-status}")
        return
    fi
    case $wanted in
        words*) _jvs_offer < <(tr ' ' '\n' <<<"${wanted#words}") ;;
        files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        dirs) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        '' | nothing) ;;
        *) _jvs_offer < <(_jvs_dynamic "$wanted") ;;
    esac
}""",
            f"complete -F _jvs jvs {' '.join(completion.programs())}",
            "",
        ]
    )


def zsh(shapes: list[completion.Shape]) -> str:
    """Return the script for zsh."""
    programs = " ".join(["jvs", *completion.programs()])
    return "\n".join(
        [
            f"#compdef {programs}",
            '# zsh completion for jvs: eval "$(jvs completion zsh)", or a file `_jvs` on fpath',
            _tables(shapes),
            _SCAN,
            r"""
_jvs() {
    emulate -L zsh
    setopt ${_comp_options[@]} shwordsplit
    local command place wanted options _jvs_dir _jvs_repo cur=${words[CURRENT]}
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
        files) unsetopt shwordsplit; _files ;;
        dirs) unsetopt shwordsplit; _files -/ ;;
        '' | nothing) ;;
        *) found=("${(@f)$(_jvs_dynamic "$wanted")}"); found=(${found:#}); compadd -- "${found[@]}" ;;
    esac
}""",
            f'if [[ ${{funcstack[1]}} == _jvs ]]; then _jvs "$@"; else compdef _jvs {programs}; fi',
            "",
        ]
    )
