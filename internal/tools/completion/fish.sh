# Completion of moldau and Kafka's tools for fish: moldau completion fish | source
function __moldau_suggest
    set -l words (commandline -opc)
    $words[1] __suggest (commandline -cp) 2>/dev/null
end
for program in PROGRAMS
    complete -c $program -a '(__moldau_suggest)'
end
