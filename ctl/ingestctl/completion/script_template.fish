# fish completion for ingestctl, made from its own parsers by: ingestctl completion fish

# The options of a verb that a word follows; without a verb, those before it.
function __ingestctl_valued
    switch "$argv[1]"
@VALUED@
        case '*'
            echo --color
    end
end

# The verb on the line, and the words at its places before the cursor, one a line.
function __ingestctl_words
    set -l valued --color
    set -l verb
    set -l skip 0
    set -l closed 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if test "$word" = -- -a -n "$verb" -a $closed = 0
            set closed 1
        else if string match -q -- '-?*' "$word"; and test $closed = 0
            contains -- "$word" $valued; and set skip 1
        else
            if test -z "$verb"
                set verb $word
                set valued (__ingestctl_valued $verb)
            end
            echo -- $word
        end
    end
end

# True at place N of VERB, at any place without N, and at N or a later one with a third word; VERB '' is where it stands.
function __ingestctl_at
    set -l words (__ingestctl_words)
    test "$words[1]" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    if set -q argv[3]
        test (count $words) -ge $argv[2]
    else
        test (count $words) -eq $argv[2]
    end
end

# True at VERB while none of the other words, options that cannot stand beside the one in question, is on the line.
function __ingestctl_free
    __ingestctl_at $argv[1]; or return 1
    set -l before (commandline -opc | string replace -r '^(--[^=]*)=.*' '$1')
    for flag in $argv[2..-1]
        contains -- $flag $before; and return 1
    end
    return 0
end

# The running daemon's jobs with their status; none when there is no daemon.
function __ingestctl_jobs
    set -l program (commandline -opc)[1]
    set program (string replace -r '^~/' "$HOME/" -- $program)
    $program completion jobs $argv[1] 2>/dev/null </dev/null
end

# Short names; or a folder, which has a slash.
function __ingestctl_models
    set -l typed (commandline -ct | string replace -r '^--[^=]*=' '')
    if string match -qr '/|^[.~]' -- $typed
        __fish_complete_directories $typed ''
    else
        printf '%s\t\n' $argv
    end
end

function __ingestctl_sinks
    set -l typed (commandline -ct | string replace -r '^--[^=]*=' '')
    if string match -q 'jsonl:*' -- $typed
        __fish_complete_path (string replace 'jsonl:' '' -- $typed) | string replace -r '^' 'jsonl:'
    else
        printf '%s\t\n' $argv
    end
end

complete -c ingestctl -f
complete -c ingestctl -n "__ingestctl_at ''" -s h -l help -d 'show the verbs'
complete -c ingestctl -n "__ingestctl_at ''" -s V -l version -d 'show the version'
complete -c ingestctl -n "__ingestctl_at ''" -l color -x -a 'auto always never' -d 'colour'
@VERBS@
complete -c ingestctl -n "__ingestctl_at ''" -a help -d 'the help of a verb'
complete -c ingestctl -n '__ingestctl_at help 1' -a '@NAMES@'
@LINES@
