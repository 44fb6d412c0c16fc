# Real data, a few steps, if ../shared/data lies next to the clone.
session data
if ! [ -d "$data" ]; then echo 'skip  real data (no ../shared/data)'; return 0; fi

real_doctor() { # no false alarm
  use user; cd "$tmp"
  local d; for d in coco-mini nuclei membrane; do timeout 300 unet_doctor --data "$data/$d" | tee doctor.txt; ! grep -E '^(error|warning)' doctor.txt; done
}
real_sets() { use user; cd "$tmp"; timeout 600 python "$top/.ci/real.py" "$data"; } # with no option but the folder
cases() { # data as people have it
  use user; cd "$tmp"
  [ -d "$data/../cases" ] || { say 'SKIPPED: no cases'; return 0; }
  timeout 600 python "$top/.ci/cases.py" "$data/../cases"; say "$(tail -n 1 "$log")"
}
nuclei() {
  use user; mkdir -p "$tmp/d"; cd "$tmp/d"
  local d=(--images "$data/nuclei/images" --masks "$data/nuclei/masks" --valid 'val_*')
  timeout 1500 unet_train "${d[@]}" --max_steps 60 --seed 0 --out nuclei.pth | tee train.txt
  grep -q '^norm *invert_light ' train.txt || die 'the plan did not see light and dark images'
  timeout 900 unet_eval --model nuclei.pth "${d[@]}" --json nuclei.json | tee eval.txt
  has nuclei.pth nuclei.json; python -m json.tool nuclei.json >/dev/null
  local s; s=$(score eval.txt); say "mean IoU $s"; at_least "${s:-0}" 0.55 'mean IoU on nuclei'
}
coco_mini() {
  use user; mkdir -p "$tmp/d"; cd "$tmp/d"
  timeout 1500 unet_train --coco "$data/coco-mini" --classes person --max_steps 60 --seed 0 --out person.pth
  timeout 900 unet_eval --model person.pth --coco "$data/coco-mini" --json person.json | tee eval.txt
  has person.pth person.json; grep -q person eval.txt || die 'no line for the class person'
  local s; s=$(score eval.txt); say "mean IoU $s"; at_least "${s:-0}" 0.25 'IoU of person'
}

step 'real data: doctor' after 'install for users' : real_doctor
step 'real data: read as it is' after 'install for users' : real_sets
step 'real data: cases' after 'install for users' : cases
step 'real data: nuclei' after 'install for users' : nuclei
step 'real data: coco-mini' after 'install for users' : coco_mini
