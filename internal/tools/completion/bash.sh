# Completion of moldau and Kafka's tools for bash: source <(moldau completion bash)
_moldau() {
  local line=${COMP_LINE:0:COMP_POINT} current=${COMP_WORDS[COMP_CWORD]} word before
  case $current in '=' | ':') current= ;; esac
  # bash breaks words at = and :, and replaces what stands behind the last of them only.
  before=${line##*[[:space:]]}
  before=${before%"$current"}
  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    COMPREPLY+=("${word#"$before"}")
  done < <("${COMP_WORDS[0]}" __suggest "$line" 2>/dev/null)
}
complete -o bashdefault -o default -F _moldau PROGRAMS
