# For the scripts beside it, which consist of parts: sourced, not run.
#
# take_parts SCRIPT FLAG ARGUMENT...: the parts that are asked for into `parts`, all of `all_parts` when none is; into `flagged`
# (yes or no) whether FLAG is among the arguments. FLAG is '' for a script that has none. Exits 2 at what is neither.
take_parts() {
  local script=$1 flag=$2 argument
  shift 2
  parts=() flagged=no
  for argument in "$@"; do
    if [[ -n $flag && $argument == "$flag" ]]; then
      flagged=yes
    elif [[ " ${all_parts[*]} " == *" $argument "* ]]; then
      parts+=("$argument")
    else
      printf '%s: no part named %q: %s\n' "$script" "$argument" "${all_parts[*]}" >&2
      exit 2
    fi
  done
  ((${#parts[@]})) || parts=("${all_parts[@]}")
}
