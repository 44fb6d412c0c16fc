# The small frame of .ci/run: steps with needs, in sessions. It is sourced. Bash 3.2 (macOS) has to understand it: no associative arrays.
#
#   session NAME                                what follows belongs to this session
#   step NAME [after NAME ...] : FUNCTION ...   a check; it runs if all the steps that it needs have passed
top=$PWD
data=$PWD/../shared/data
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/tmp" "$tmp/logs" "$tmp/passed" "$tmp/failed" "$tmp/skipped"
export TMPDIR="$tmp/tmp" # what a failed test leaves behind goes as well
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV IN_TEST
export MPLBACKEND=Agg PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=1 NO_ALBUMENTATIONS_UPDATE=1
export HF_HUB_OFFLINE=1 # the default encoder must not need a hub
python=${PYTHON:-$(command -v python3 || command -v python)}

# ── steps and which of them run ──────────────────────────────────────────────────────────────────────────────────────────────────
sessions=() names=() needs=() commands=() homes=() wanted=() # step number → name, names it needs (one per line), command, session, 1 if it runs
session() { sessions+=("$1"); }
step() {
  names+=("$1") homes+=("${sessions[${#sessions[@]}-1]}") wanted+=('')
  local need=''; shift
  if [ "$1" = after ]; then shift; while [ "$1" != : ]; do need+="$1"$'\n'; shift; done; fi
  shift; needs+=("$need") commands+=("$*")
}
want() { # the step of this number, and what it needs
  local i=$1 j need
  [ -z "${wanted[i]}" ] || return 0
  wanted[i]=1
  while IFS= read -r need; do for j in "${!names[@]}"; do if [ "${names[j]}" = "$need" ]; then want "$j"; fi; done; done <<<"${needs[i]}"
}
choose() { # WORD …: a session's name stands for its steps, another word for the steps with it in their names; no word: all but `oldest`
  local i w found
  for i in "${!names[@]}"; do if [ $# = 0 ] && [ "${homes[i]}" != oldest ]; then want "$i"; fi; done
  for w in "$@"; do
    found=''
    for i in "${!names[@]}"; do if [ "${homes[i]}" = "$w" ]; then want "$i"; found=1; fi; done
    [ -n "$found" ] && continue
    for i in "${!names[@]}"; do if [[ ${names[i]} == *"$w"* ]]; then want "$i"; found=1; fi; done
    [ -n "$found" ] || { echo "no session and no step has the name '$w'; sessions: ${sessions[*]}" >&2; exit 2; }
  done
}

# ── running them ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
slug() { echo "${1//[^a-zA-Z0-9]/_}"; }
run_step() { # by its number; the output goes to $log, and is shown if the step fails
  local i=$1 t=$SECONDS rc need name=${names[$1]}
  local me; me=$(slug "$name"); log=$tmp/logs/$me
  while IFS= read -r need; do
    if [ -n "$need" ] && ! [ -e "$tmp/passed/$(slug "$need")" ]; then : >"$tmp/skipped/$me"; echo "skip  $name (needs: $need)"; return; fi
  done <<<"${needs[i]}"
  ( set -e; ${commands[i]} ) >"$log" 2>&1 </dev/null; rc=$?
  if [ $rc = 0 ]; then : >"$tmp/passed/$me"; echo "ok    $name ($((SECONDS-t)) s) $(cat "$log.say" 2>/dev/null)"; if [ -s "$log.table" ]; then sed 's/^/    | /' "$log.table"; fi
  else : >"$tmp/failed/$me"; echo "FAIL  $name ($((SECONDS-t)) s, exit $rc)"; grep -v 'WARNING: Location\|^ *$' "$log" | tail -n "${TAIL:-40}" | cut -c1-400 | sed 's/^/    | /'; fi
}
run_session() { local i; for i in "${!names[@]}"; do if [ "${homes[i]}" = "$1" ] && [ -n "${wanted[i]}" ]; then run_step "$i"; fi; done; }
together() { # SESSION SESSION: side by side, one core each; two torch processes with two threads each would take 5 to 10 times as long
  local s n=0
  for s in "$@"; do if in_session "$s"; then n=$((n+1)); fi; done
  if [ $n -lt 2 ]; then for s in "$@"; do run_session "$s"; done; return; fi
  for s in "$@"; do ( trap - EXIT; export OMP_NUM_THREADS=1; run_session "$s" ) & done
  wait
}
in_session() { local i; for i in "${!names[@]}"; do if [ "${homes[i]}" = "$1" ] && [ -n "${wanted[i]}" ]; then return 0; fi; done; return 1; }
count() { find "$tmp/$1" -type f | wc -l | tr -d ' '; }
summary() {
  local n; n=$(count skipped)
  echo "elapsed: $((SECONDS/60)) min $((SECONDS%60)) s"
  echo "$(count passed) passed, $(count failed) failed$([ "$n" = 0 ] || echo ", $n skipped")"
  [ "$(count failed)" = 0 ]
}

# ── words that steps use ─────────────────────────────────────────────────────────────────────────────────────────────────────────
say() { echo "$*" | tee "$log.say"; }              # shown next to the step's name
die() { echo "$*"; return 1; }
at_least() { python -c 'import sys; a,b=map(float,sys.argv[1:3]); sys.exit(a<b)' "$1" "$2" || die "$3 is $1, at least $2 is expected"; }
has() { local f; for f in "$@"; do [ -s "$f" ] || die "$f is missing or empty"; done; }
score() { sed -n 's/^mean IoU \([01]\.[0-9]*\)$/\1/p' "$1" | tail -n 1; }
command -v timeout >/dev/null || timeout() { shift; "$@"; } # macOS has none
sha1=$(command -v sha1sum || command -v shasum)
files() { git -C "$top" ls-files -co --exclude-standard -z; }
prints() { (cd "$top" && files | xargs -0 $sha1 2>/dev/null | sort -k2); }
tree_kept() { prints | diff "$tmp/prints" - || die 'files changed: < before, > after'; }
clone_clean() { if [ "${CI:-}" = true ]; then [ -z "$(git -C "$top" status --porcelain)" ] || { git -C "$top" status --short; git -C "$top" --no-pager diff | head -n 60; return 1; }; fi; }

# refuses WORD OUT command …: exit 2, one line that has WORD in it, no OUT written
refuses() {
  local word=$1 out=$2 rc=0; shift 2
  rm -rf "$out"; timeout 300 "$@" >"$log.said" 2>&1 || rc=$?
  echo "\$ $*"; cat "$log.said"
  [ $rc = 2 ] || die "exit $rc, 2 is expected"
  [ "$(grep -c . "$log.said")" = 1 ] || die 'one line is expected'
  grep -qF -- "$word" "$log.said" || die "the line does not say: $word"
  [ ! -e "$out" ] || die "$out was written"
}

venv() { "$python" -m venv "$tmp/$1"; use "$1"; python -c 'import sys; print(sys.version)'; }
use() { if [ -d "$tmp/$1/Scripts" ]; then export PATH="$tmp/$1/Scripts:$PATH"; else export PATH="$tmp/$1/bin:$PATH"; fi; }
use_any() { if [ -d "$tmp/user" ]; then use user; elif [ -d "$tmp/dev" ]; then use dev; else use oldest; fi; }

tiny() { # a COCO set, a folder of masks 0/255, and files that are broken in one way each: made once, in $tmp/t
  if [ -e "$tmp/t/ready" ]; then return; fi
  rm -rf "$tmp/t"; mkdir -p "$tmp/t"
  (cd "$tmp/t" && python "$top/.ci/tiny.py")
  : >"$tmp/t/ready"
}
spellings() { # of the same options, in the environment given
  use "$1"; tiny; cd "$tmp/t"; rm -rf "m-$1"
  local d=(--images folder/images --masks folder/masks)
  unet_train "${d[@]}" --valid 'val_*' --max_steps 2 --bs 2 --size 64 --out "m-$1/a.pth"
  unet_train "${d[@]}" --valid-pct 0.25 --max-steps 2 --bs 2 --size 64 --out "m-$1/b.pth"
  unet_train --coco coco --max_steps=2 --bs=2 --size=64 "--out=m-$1/c.pth"
  has "m-$1/a.pth" "m-$1/b.pth" "m-$1/c.pth"
  unet_eval --model "m-$1/a.pth" "${d[@]}" --valid 'val_*' --json "m-$1/a.json" | tee "m-$1/eval.txt"
  has "m-$1/a.json"; [ -n "$(score "m-$1/eval.txt")" ] || die 'unet_eval does not end with: mean IoU 0.xxx'
}
same_weights() { python - "$@" <<'PY'
import sys, torch
a,b = (torch.load(o, weights_only=True)['state'] for o in sys.argv[1:])
sys.exit(not all(torch.equal(a[k], b[k]) for k in a))
PY
}
