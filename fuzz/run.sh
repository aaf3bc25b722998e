#!/usr/bin/env bash
# fuzz/run.sh SECONDS [FOLDER]: every target for that long.
#
# FOLDER holds more inputs: FOLDER/TARGET where there is one, FOLDER itself where not. They are read, never changed.
# TARGETS="sse gemini" names some only, JOBS=2 runs two at a time, LOGS=folder keeps what the fuzzer says.
# Ends with 1 when a target found something; the input is then in fuzz/artifacts/TARGET.
set -euo pipefail
seconds=${1:?usage: fuzz/run.sh SECONDS [FOLDER]}
more=${2:+$(realpath "$2")}
cd "$(dirname "$0")"
LOGS=${LOGS:-$(mktemp -d)}
mkdir -p "$LOGS"
LOGS=$(realpath "$LOGS")
export seconds more LOGS

dictionary() {
  case $1 in
    openai | openai_compatible) echo chat ;;
    *) echo "$1" ;;
  esac
}

run() {
  local target=$1 words log=$LOGS/$1.log folders
  words=$(dictionary "$target")
  mkdir -p "corpus/$target" "artifacts/$target"
  folders=("corpus/$target" "seeds/$words")
  if [ -d "$more/$target" ]; then folders+=("$more/$target"); elif [ -n "$more" ]; then folders+=("$more"); fi
  touch "$LOGS/$target.began"
  cargo +nightly fuzz run "$target" "${folders[@]}" -- -max_total_time="$seconds" -dict="dictionaries/$words.dict" \
    -rss_limit_mb=1024 -timeout=10 -max_len=65536 -print_final_stats=1 >"$log" 2>&1 || true
  local executions coverage peak crashes
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2 || true)
  crashes=$(find "artifacts/$target" -type f -newer "$LOGS/$target.began" | wc -l)
  # Without its last lines the fuzzer did not even run.
  [ -n "$executions" ] || [ "$crashes" -gt 0 ] || crashes="did not run, see $log"
  printf '%-18s %12s %10s %8s %8s MB\n' "$target" "${executions:--}" "${coverage:--}" "$crashes" "${peak:--}"
  [ "$crashes" = 0 ]
}
export -f run dictionary

cargo +nightly fuzz build >"$LOGS/build.log" 2>&1 || { tail -20 "$LOGS/build.log" >&2; exit 1; }
printf '%-18s %12s %10s %8s %11s\n' target executions coverage crashes "peak RSS"
status=0
printf '%s\n' ${TARGETS:-sse request openai openai_compatible anthropic gemini} |
  xargs -P "${JOBS:-1}" -I{} bash -c 'run {}' || status=1
exit $status
