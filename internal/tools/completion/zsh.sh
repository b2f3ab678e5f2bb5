# Completion of moldau and Kafka's tools for zsh: source <(moldau completion zsh)
_moldau() {
  local -a suggestions
  local word text
  while IFS=$'\t' read -r word text; do
    suggestions+=("${word//:/\\:}:$text")
  done < <("${words[1]}" __suggest "${(j: :)words[1,CURRENT]}" 2>/dev/null)
  if (( $#suggestions )); then
    _describe -V option suggestions
  else
    _files
  fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }
compdef _moldau PROGRAMS
