# bash completion for ingestctl, made from its own parsers by: ingestctl completion bash

# What each verb takes. An entry of "options" is an option, a space, and those beside which it is not offered (itself,
# unless it may be repeated); "valued" are the options that a word follows; "last" is its last place (0: it has none),
# with a + when that takes all words that are left.
_ingestctl_verb() {
    options=() valued='' last=0
    case $1 in
@VERBS@
    esac
}

# What may stand behind an option of a verb, or at one of its places.
_ingestctl_value() {
    case "$1 $2" in
@VALUES@
    'start '*) _ingestctl_added_value "$2" ;;
    esac
}

# Ask the client, which finds jobs, and what other packages add, when TAB is pressed.
_ingestctl_ask() {
    local program
    program=$(type -P -- "${words[0]/#\~\//$HOME/}") || program=ingestctl
    "$program" completion "$@" 2>/dev/null </dev/null
}

# The flags of start that other packages add: each with what follows it, and the words that are offered there.
_ingestctl_added() {
    local flag what help names
    while IFS=$'\t' read -r flag what help names; do
        added+=("$flag $what $names") options+=("$flag $flag")
        [[ $what == switch ]] || valued+=" $flag"
    done < <(_ingestctl_ask flags)
}

_ingestctl_added_value() {
    local entry flag what names
    for entry in "${added[@]}"; do
        read -r flag what names <<<"$entry"
        [[ $flag == "$1" ]] || continue
        case $what in
        file) _ingestctl_files ;;
        folder) _ingestctl_folders ;;
        model) _ingestctl_models $names ;;
        word) _ingestctl_offer $names ;;
        esac
    done
}

# The words up to the cursor. bash cuts them at = and : too, which stand inside of options and model names here.
_ingestctl_words() {
    local line=${COMP_LINE:0:COMP_POINT} rest word i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        rest=${line#"${line%%[![:space:]]*}"}
        [[ $i -gt 0 && $rest == "$line" ]] || words+=('')
        # The cursor stands inside of its last word.
        [[ $rest == "$word"* ]] || word=$rest
        words[${#words[@]}-1]+=$word
        line=${rest#"$word"}
    done
}

# Offer those of the given words that go on with what was typed, each so that the shell takes it for nothing but a word:
# names of jobs and folders are anybody's.
_ingestctl_offer() {
    local word quoted begun=$typed apostrophe="'\\''" mark="\"'!'\""
    case $typed in
    \'*) begun=${typed:1} ;;
    \"*) begun=${typed:1} begun=${begun//\\/} ;;
    *\\*) begun=${typed//\\/} ;;
    esac
    for word in "$@"; do
        [[ $word == "$begun"* ]] || continue
        case $typed in
        \'*)
            quoted=${word//\'/$apostrophe}
            [[ $quoted != *\' ]] || quoted+=\' # readline takes a quote at the end for the one that closes
            ;;
        \"*)
            quoted=${word//\\/\\\\} quoted=${quoted//\"/\\\"} quoted=${quoted//\$/\\\$} quoted=${quoted//\`/\\\`}
            quoted=${quoted//!/$mark}
            [[ $quoted != *\" ]] || quoted+=\"
            ;;
        *)
            printf -v quoted '%q' "$word"
            [[ -z $tilde ]] || quoted=${quoted/#\\~\//\~/}
            quoted=$head$quoted quoted=${quoted#"$cut"}
            ;;
        esac
        COMPREPLY+=("$quoted")
    done
}

_ingestctl_files() {
    if type compopt &>/dev/null; then
        compopt -o bashdefault -o default
    else
        _ingestctl_paths -f
    fi
}

_ingestctl_folders() {
    if type compopt &>/dev/null; then
        compopt -o dirnames
    else
        _ingestctl_paths -d
    fi
}

# For a bash that cannot be told to complete paths itself, that of macOS.
_ingestctl_paths() {
    local path paths=() begun=$typed tilde=yes
    [[ $typed != [\"\']* ]] || begun=${typed:1}
    [[ $typed == \'* ]] || begun=${begun//\\/}
    while IFS= read -r path; do
        paths+=("$path")
    done < <(compgen "$1" -- "$begun")
    _ingestctl_offer "${paths[@]}"
}

_ingestctl_users() {
    _ingestctl_offer $(compgen -u)
}

# The running daemon's jobs; none when there is no daemon.
_ingestctl_jobs() {
    local name status names=()
    while IFS=$'\t' read -r name status; do
        names+=("$name")
    done < <(_ingestctl_ask jobs "$verb")
    _ingestctl_offer "${names[@]}"
}

# A job; or a file, once it can be no job.
_ingestctl_job_or_file() {
    [[ $typed == */* || $place -gt 1 ]] || _ingestctl_jobs
    [[ ${#COMPREPLY[@]} -gt 0 ]] || _ingestctl_files
}

# Short names; or a folder, which has a slash.
_ingestctl_models() {
    case $typed in
    */* | .* | \~*) _ingestctl_folders ;;
    *) _ingestctl_offer "$@" ;;
    esac
}

# Schemes of sinks, those that other packages add as well; a file, behind the scheme of one that is a file.
_ingestctl_sinks() {
    local scheme what files=' @FILES@ ' schemes=("$@")
    while IFS=$'\t' read -r scheme what; do
        schemes+=("$scheme")
        [[ $what != file ]] || files+="$scheme "
    done < <(_ingestctl_ask sinks)
    scheme=${typed%%:*}
    if [[ $typed == *:* && $files == *" $scheme "* ]]; then
        head+=$scheme: typed=${typed#*:} && _ingestctl_files
    else
        _ingestctl_offer "${schemes[@]}"
    fi
}

_ingestctl() {
    local words verb='' option='' closed='' used=' ' place=1 added=() options=('--help --help' '--version --version' '--color --color')
    local valued='--color' last=0 word rival typed head='' cut='' tilde=''
    COMPREPLY=()
    _ingestctl_words
    for word in "${words[@]:1:${#words[@]}-2}"; do
        if [[ -n $option ]]; then
            option=''
        elif [[ $word == -- && -n $verb && -z $closed ]]; then
            closed=yes
        elif [[ $word == -?* && -z $closed ]]; then
            used+="${word%%=*} "
            [[ " $valued " != *" $word "* ]] || option=$word
        elif [[ -z $verb ]]; then
            verb=$word used=' '
            _ingestctl_verb "$verb"
            [[ $verb != start || "${words[*]}" != *' -'* ]] || _ingestctl_added
        else
            place=$((place + 1))
        fi
    done

    typed=${words[${#words[@]}-1]}
    # bash puts the completion behind the last of its own breaks, unless that is in quotes.
    word=${typed%%[\"\']*}
    [[ $COMP_WORDBREAKS != *:* ]] || cut=${word%"${word##*:}"}
    [[ $COMP_WORDBREAKS != *=* ]] || { rival=${word%"${word##*=}"} && [[ ${#rival} -lt ${#cut} ]] || cut=$rival; }

    if [[ -n $option ]]; then
        _ingestctl_value "$verb" "$option"
    elif [[ $typed == --*=* && -z $closed ]]; then
        option=${typed%%=*} head=${typed%%=*}= typed=${typed#*=}
        _ingestctl_value "$verb" "$option"
    elif [[ $typed == -* && -z $closed ]]; then
        for word in "${options[@]}"; do
            for rival in ${word#* }; do
                [[ $used != *" $rival "* ]] || continue 2
            done
            _ingestctl_offer "${word%% *}"
        done
    elif [[ -z $verb ]]; then
        _ingestctl_offer @NAMES@ help
    else
        case $last in
        *+) [[ $place -le ${last%+} ]] || place=${last%+} ;;
        esac
        _ingestctl_value "$verb" "$place"
    fi
}

complete -F _ingestctl ingestctl
