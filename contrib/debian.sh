# shellcheck shell=bash
# Sourced by contrib/demo and contrib/check: a Python that is new enough, and the system packages that are missing.

# is_python PROGRAM: it is Python 3.11 or newer and can make virtual environments.
# Debian has the module venv without the package python3-venv, and ensurepip without the wheels that it unpacks.
is_python() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11) or not ensurepip.version())' 2>/dev/null
}

# find_python: print the first Python that will do; status 1 when there is none.
find_python() {
    local python
    for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3}; do
        if is_python "$python"; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# missing_packages: read lines "PROGRAM PACKAGE", print the packages whose programs are not on PATH, each once.
missing_packages() {
    local program package found=' '
    while read -r program package; do
        case $program in '' | '#'*) continue ;; esac
        command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || [ -x "/sbin/$program" ] ||
            [[ $found == *" $package "* ]] || found+="$package "
    done
    printf '%s' "${found# }" | tr ' ' '\n'
}

# install_line PACKAGE...: print what a person types to install them.
install_line() {
    if [ "$(id -u)" -eq 0 ]; then
        echo "apt-get update && apt-get install -y --no-install-recommends $*"
    else
        echo "sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends $*'"
    fi
}

# install_packages LOG PACKAGE...: install them as root on Debian; else print the one line that does, and fail.
install_packages() {
    local log=$1
    shift
    [ $# -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        printf '%s: not installed: %s; on Debian and Ubuntu this line installs what is missing:\n\n    %s\n\n' \
            "${0##*/}" "$*" "$(install_line "$@")" >&2
        return 1
    fi
    echo "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -20 "$log" >&2
        printf '%s: apt could not install: %s\n' "${0##*/}" "$*" >&2
        return 1
    fi
    hash -r
}
