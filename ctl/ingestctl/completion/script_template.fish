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
                if test "$verb" = start
                    __ingestctl_added
                    set valued $valued $__ingestctl_added_valued
                end
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
    # What follows a flag is at no place. fish knows that by itself of flags that it knows.
    __ingestctl_added_flag >/dev/null; and return 1
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

# Ask the client, which finds jobs, and what other packages add, when TAB is pressed.
function __ingestctl_ask
    set -l program (commandline -opc)[1]
    set program (string replace -r '^~/' "$HOME/" -- $program)
    $program completion $argv 2>/dev/null </dev/null
end

# The running daemon's jobs with their status; none when there is no daemon.
function __ingestctl_jobs
    __ingestctl_ask jobs $argv[1]
end

# Have the flags of start that other packages add in __ingestctl_added_lines (flag, what follows it, help, words) and
# those that a word follows in __ingestctl_added_valued. The client is asked once for a line, and only if it has a flag.
function __ingestctl_added
    set -l line (commandline -cp)
    test "$__ingestctl_added_for" = "$line"; and return
    set -g __ingestctl_added_for "$line"
    set -g __ingestctl_added_lines
    set -g __ingestctl_added_valued
    string match -q '* -*' -- "$line"; or return
    set -g __ingestctl_added_lines (__ingestctl_ask flags)
    for line in $__ingestctl_added_lines
        set -l fields (string split \t -- $line)
        test "$fields[2]" = switch; or set -g __ingestctl_added_valued $__ingestctl_added_valued $fields[1]
    end
end

# The line of the added flag whose value stands at the cursor; false where none does.
function __ingestctl_added_flag
    set -l flag (commandline -ct | string match -r '^--[^=]+(?==)')
    set -q flag[1]; or set flag (commandline -opc)[-1]
    contains -- "$flag" $__ingestctl_added_valued; or return 1
    for line in $__ingestctl_added_lines
        if string match -q -- "$flag"\t'*' $line
            echo -- $line
            return 0
        end
    end
    return 1
end

# The added flags that are not on the line, with their help.
function __ingestctl_added_flags
    string match -q -- '-*' (commandline -ct); or return
    set -l before (commandline -opc | string replace -r '^(--[^=]+)=.*' '$1')
    contains -- -- $before; and return
    for line in $__ingestctl_added_lines
        set -l fields (string split \t -- $line)
        contains -- $fields[1] $before; or printf '%s\t%s\n' $fields[1] $fields[3]
    end
end

# What may stand behind the added flag at the cursor, with the flag where that is written with an =.
function __ingestctl_added_value
    set -l fields (string split \t -- (__ingestctl_added_flag))
    set -l typed (commandline -ct)
    set -l head (string match -r '^--[^=]+=' -- $typed)
    set typed (string replace -r '^--[^=]+=' '' -- $typed)
    switch $fields[2]
        case file
            __fish_complete_path $typed '' | string replace -r '^' "$head"
        case folder
            __fish_complete_directories $typed '' | string replace -r '^' "$head"
        case model
            __ingestctl_models (string split ' ' -- $fields[4]) | string replace -r '^' "$head"
        case word
            set -q fields[4]; and test -n "$fields[4]"; and printf '%s\t\n' "$head"(string split ' ' -- $fields[4])
    end
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

# Schemes of sinks, those that other packages add as well; a file, behind the scheme of one that is a file.
function __ingestctl_sinks
    set -l typed (commandline -ct | string replace -r '^--[^=]*=' '')
    set -l schemes $argv
    set -l files @FILES@
    for line in (__ingestctl_ask sinks)
        set -l fields (string split \t -- $line)
        set schemes $schemes $fields[1]
        test "$fields[2]" = file; and set files $files $fields[1]
    end
    set -l scheme (string match -r '^[^:]+(?=:)' -- $typed)
    if set -q scheme[1]; and contains -- $scheme $files
        __fish_complete_path (string replace "$scheme:" '' -- $typed) | string replace -r '^' "$scheme:"
    else
        printf '%s\t\n' $schemes
    end
end

complete -c ingestctl -f
complete -c ingestctl -n "__ingestctl_at ''" -s h -l help -d 'show the verbs'
complete -c ingestctl -n "__ingestctl_at ''" -s V -l version -d 'show the version'
complete -c ingestctl -n "__ingestctl_at ''" -l color -x -a 'auto always never' -d 'colour'
@VERBS@
complete -c ingestctl -n "__ingestctl_at ''" -a help -d 'the help of a verb'
complete -c ingestctl -n '__ingestctl_at start' -a '(__ingestctl_added_flags)'
complete -c ingestctl -n '__ingestctl_at start; and __ingestctl_added_flag >/dev/null' -a '(__ingestctl_added_value)'
complete -c ingestctl -n '__ingestctl_at help 1' -a '@NAMES@'
@LINES@
