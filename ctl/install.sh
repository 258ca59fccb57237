#!/bin/sh
# What "make install" and "make uninstall" do: an environment of its own, and links to it from where shells and man look.
#
# As root for the whole machine (/opt/ingestd, links in /usr/local), else for this user (all of it in ~/.local).
# PREFIX is where the links go, DESTDIR stands before everything that is written (for packages), EXTRAS=heic,raw takes
# extras along, INSTALL_FROM is a wheel or a folder in place of this checkout, PIP_FLAGS goes to every pip install.
# PYTHON and TORCH come from the Makefile; TORCH= takes none.
set -eu
umask 022
unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME || true

cd "$(dirname "$0")/.."
from=${INSTALL_FROM:-.}
if [ "$(id -u)" = 0 ]; then default=/usr/local; else default=$HOME/.local; fi
prefix=${PREFIX:-$default} destdir=${DESTDIR:-}
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
case $destdir in '' | /*) ;; *) destdir=$PWD/$destdir ;; esac
prefix=${prefix%/} destdir=${destdir%/}
if [ "$(id -u)" = 0 ] && [ "$prefix" = /usr/local ]; then venv=/opt/ingestd; else venv=$prefix/share/ingestd/venv; fi
here=$destdir$venv

# The links: place in the environment, place outside.
links() {
    for name in ingestctl ingestd; do
        echo "bin/$name $prefix/bin/$name"
        echo "share/man/man1/$name.1 $prefix/share/man/man1/$name.1"
    done
    for file in bash-completion/completions/ingestctl zsh/site-functions/_ingestctl fish/vendor_completions.d/ingestctl.fish; do
        echo "share/$file $prefix/share/$file"
    done
    # A distribution's fish does not look into /usr/local by itself.
    if [ "$venv" = /opt/ingestd ] && [ -d "$destdir/etc/fish" ]; then
        echo "share/fish/vendor_completions.d/ingestctl.fish /etc/fish/completions/ingestctl.fish"
    fi
}

fail() { # operation, object, message, remedy
    printf 'Error: cannot %s %s: %s\nTry: %s\n' "$1" "$2" "$3" "$4" >&2
    exit 1
}

install() {
    command -v "$PYTHON" >/dev/null || fail run "$PYTHON" "it is not there" "make install PYTHON=/path/to/python3.11"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail use "$PYTHON" "Python 3.11 or newer is needed" "make install PYTHON=/path/to/python3.11"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail use "$PYTHON" "it has no module venv with pip" "install your distribution's package of it (python3-venv)"
    while read -r source place; do
        if [ -e "$destdir$place" ] || [ -L "$destdir$place" ]; then
            [ "$(readlink "$destdir$place")" = "$venv/$source" ] ||
                fail write "$destdir$place" "it belongs to another installation" "remove that one first, or choose another PREFIX"
        fi
    done <<END
$(links)
END

    version='import sys; print(sys.version_info[:2])'
    if [ ! -e "$here/pyvenv.cfg" ]; then
        [ -z "$(ls -A "$here" 2>/dev/null)" ] || fail use "$here" "it holds something else" "choose another PREFIX"
        "$PYTHON" -m venv "$here"
    elif [ "$("$here/bin/python" -c "$version" 2>/dev/null)" != "$("$PYTHON" -c "$version")" ]; then
        echo "another Python than before: the environment is made anew"
        "$PYTHON" -m venv --clear "$here"
    fi
    if ! "$here/bin/python" -m pip --version >/dev/null 2>&1; then
        echo "the environment was left half made: it is made anew"
        "$PYTHON" -m venv --clear "$here"
    fi
    pip() { "$here/bin/python" -m pip --disable-pip-version-check "$@"; }
    has() { "$here/bin/python" -c "import importlib.metadata as m; m.version('$1')" 2>/dev/null; }

    # Alone and first: see the README. One that is there, of whatever build, is kept while our wheel agrees with it.
    if [ -n "$TORCH" ] && ! has torch; then
        echo "taking PyTorch, once: 1.3 GB with its company (more with CUDA libraries), some minutes"
        pip install --quiet ${PIP_FLAGS:-} "$TORCH"
    fi
    wheels=$(mktemp -d)
    trap 'rm -rf "$wheels"' EXIT
    pip wheel --quiet --no-deps --wheel-dir "$wheels" "$from"
    wheel=$(echo "$wheels"/*.whl)
    again=
    if has ingestd; then again=yes; fi
    pip install --quiet ${PIP_FLAGS:-} "$wheel${EXTRAS:+[$EXTRAS]}"
    # pip takes a wheel of the version that is there for the same, whatever is in it.
    [ -z "$again" ] || pip install --quiet ${PIP_FLAGS:-} --force-reinstall --no-deps "$wheel"
    [ -z "$destdir" ] || settle
    while read -r source place; do
        mkdir -p "$destdir${place%/*}"
        ln -sf "$venv/$source" "$destdir$place"
    done <<END
$(links)
END
    tell
}

# In a package the environment will lie elsewhere than where it is made: its scripts name their interpreter.
settle() {
    "$PYTHON" - "$here" "$venv" <<'END'
import pathlib, sys
made, meant = (text.encode() for text in sys.argv[1:])
root = pathlib.Path(sys.argv[1])
for path in [root / "pyvenv.cfg", *(root / "bin").iterdir()]:
    if path.is_file() and not path.is_symlink() and made in (data := path.read_bytes()):
        path.write_bytes(data.replace(made, meant))
END
}

tell() {
    echo "installed $("$here/bin/python" -m ingestctl --version | sed 's/^ingestctl/ingestd/') in $here, with links below $destdir$prefix"
    [ -z "$destdir" ] || return 0
    [ -z "$again" ] || echo "a daemon that runs is still the old one: ingestctl shutdown, then ingestctl start (or: ingestctl service install)"
    case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) echo "$prefix/bin is not on your PATH: add this to your shell's profile: export PATH=\"$prefix/bin:\$PATH\"" ;;
    esac
    case "$prefix:${SHELL:-}" in
    /usr/local:* | /usr:*) ;;
    *zsh) echo "for completion in zsh, put this before compinit in ~/.zshrc: fpath+=(\"$prefix/share/zsh/site-functions\")" ;;
    esac
    echo "next:"
    echo "  ingestctl doctor             what will work on this machine, and what will not"
    echo "  ingestctl service install    have it start by itself (a service of the system: --system)"
    echo "  ingestctl start ~/Pictures   ingest a folder"
}

uninstall() {
    if [ -z "$destdir" ]; then
        unused
    fi
    removed=
    while read -r source place; do
        if [ "$(readlink "$destdir$place")" = "$venv/$source" ]; then
            rm -f "$destdir$place"
            removed=yes
        fi
    done <<END
$(links)
END
    if [ -e "$here/pyvenv.cfg" ]; then
        rm -rf "$here"
        removed=yes
    fi
    [ "$venv" = /opt/ingestd ] || rmdir "$destdir$prefix/share/ingestd" 2>/dev/null || true
    if [ -z "$removed" ]; then
        echo "there is no installation in $here"
    else
        echo "removed $here and the links to it; jobs, results, settings, fetched models and your photos stay"
    fi
}

# Those that run from the environment. A container of this machine may have one at the same place: that is another.
processes() {
    command -v pgrep >/dev/null || return 0
    pgrep --ns $$ --nslist pid -f "^$venv/bin/python" 2>/dev/null
    [ $? -le 1 ] || pgrep -f "^$venv/bin/python"
}

# Nothing may stand on what is taken away: neither a process nor a service that would be started again and again.
unused() {
    for unit in "${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/ingestd.service" /home/*/.config/systemd/user/ingestd.service \
        /etc/systemd/system/ingestd@.service "$HOME/Library/LaunchAgents/local.ingestd.plist"; do
        if grep -qsF "$venv/bin/" "$unit"; then
            case $unit in /etc/*) more=' --system' ;; *) more='' ;; esac
            fail remove "$venv" "the service $unit runs from it" "ingestctl service uninstall$more (as its user)"
        fi
    done
    for process in $(processes || true); do
        fail remove "$venv" "process $process runs from it" "ingestctl shutdown (as the user whose daemon it is)"
    done
}

case ${1:-} in
install | uninstall) "$1" ;;
*) fail run "${1:-nothing}" "it is neither install nor uninstall" "make install" ;;
esac
