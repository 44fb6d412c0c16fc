# Every script in tests/stress/ whose header says `# ci: yes`, with --quick. See tests/stress/README.md.
# `STRESS=full bash .ci/run stress` takes their full sizes, for hours, with the day of the year as the seed: GitHub does so each night.
session stress

stress() { # FILE
  use user; cd "$tmp"
  local size=(--quick) limit=1800
  if [ "${STRESS:-quick}" = full ]; then
    size=() limit=10800
    if grep -q -- "'--seed'" "$top/$1"; then size=(--seed "$((10#$(date +%j)))"); fi
    echo "python $1 ${size[*]}"
  fi
  timeout "$limit" python "$top/$1" "${size[@]}"
  say "$(tail -n 1 "$log")"
}
for script in tests/stress/*.py; do
  if grep -q '^# ci: yes' "$script"; then step "stress: $(basename "$script" .py)" after 'install extras' : stress "$script"; fi
done
