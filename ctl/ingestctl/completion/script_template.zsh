#compdef ingestctl
# zsh completion for ingestctl, made from its own parsers by: ingestctl completion zsh

_ingestctl_verbs() {
    local -a verbs=(
@VERBS@
    )
    _describe -t verbs 'verb' verbs
}

# The running daemon's jobs; none when there is no daemon.
_ingestctl_jobs() {
    local name state
    local -a jobs
    _call_program jobs $program completion jobs $1 2>/dev/null </dev/null | while IFS=$'\t' read -r name state; do
        jobs+=("${${name//\\/\\\\}//:/\\:}:$state")
    done
    _describe -V -t jobs 'job' jobs
}

# A job or a file; a job's name seldom has a slash.
_ingestctl_job_or_file() {
    if [[ $PREFIX == */* ]]; then
        _files
    else
        _alternative "jobs:job: _ingestctl_jobs $1" 'files:file:_files'
    fi
}

# Short names; or a folder, which has a slash.
_ingestctl_models() {
    local expl
    if [[ $PREFIX == */* || $PREFIX == [.~]* ]]; then
        _files -/
    else
        _wanted models expl 'model' compadd - "$@"
    fi
}

# Schemes of sinks, those that other packages add as well; a file, behind the scheme of one that is a file.
_ingestctl_sinks() {
    local expl scheme what
    local -a schemes=("$@") files=(@FILES@)
    _call_program sinks $program completion sinks 2>/dev/null </dev/null | while IFS=$'\t' read -r scheme what; do
        schemes+=("$scheme")
        [[ $what != file ]] || files+=("$scheme")
    done
    for scheme in $files; do
        if compset -P "$scheme:"; then
            _files
            return
        fi
    done
    _wanted sinks expl 'sink' compadd - $schemes
}

# The flags of start that other packages add, as specs of _arguments.
_ingestctl_added() {
    added=("${(@f)$(_call_program flags $program completion flags zsh 2>/dev/null </dev/null)}")
}

_ingestctl() {
    local curcontext=$curcontext state line program=$words[1]
    local -a added
    typeset -A opt_args
    _arguments -C \
        '(- : *)'{-h,--help}'[show the verbs]' \
        '(- : *)'{-V,--version}'[show the version]' \
        '--color=[colour]:colour:(auto always never)' \
        '1: :->verb' \
        '*:: :->rest' && return
    case $state in
    verb) _ingestctl_verbs ;;
    rest)
        curcontext=${curcontext%:*:*}:ingestctl-$words[1]:
        case $words[1] in
@ARGUMENTS@
        help) _arguments '1: :_ingestctl_verbs' ;;
        esac
        ;;
    esac
}

# Autoloaded from fpath, this file is the function's body; sourced, it is a definition.
if [[ $funcstack[1] == _ingestctl ]]; then
    _ingestctl "$@"
else
    compdef _ingestctl ingestctl
fi
