# Every script in tests/stress/ whose header says `# ci: yes`, with --quick. See tests/stress/README.md.
session stress

stress() { # FILE
  use user; cd "$tmp"
  timeout 1800 python "$top/$1" --quick
  say "$(tail -n 1 "$log")"
}
for script in tests/stress/*.py; do
  if grep -q '^# ci: yes' "$script"; then step "stress: $(basename "$script" .py)" after 'install extras' : stress "$script"; fi
done
