# The oldest versions that settings.ini allows. Not part of a plain `bash .ci/run`, as it is a third environment of 5 GB: `bash .ci/run oldest`.
session oldest

oldest_install() { # on the oldest Python if PYTHON names one
  venv oldest
  mkdir -p "$tmp/src-old"; files | tar --null -T - -c | tar -x -C "$tmp/src-old"
  python .ci/oldest.py >"$tmp/oldest.txt"; cat "$tmp/oldest.txt"
  pip install -r "$tmp/oldest.txt"
  pip install "$tmp/src-old"
  say "$(pip list 2>/dev/null | awk '$1~/^(numpy|torch|fastai|timm|opencv-python)$/{printf "%s %s  ", $1, $2}')"
}
oldest_predict() {
  use oldest; cd "$tmp/t"; rm -rf old
  unet_predict --model m-oldest/a.pth --input folder/images --output old/all --mask --json --objects
  has old/all/results.json old/all/objects.csv
  unet_doctor --data folder
}
oldest_demo() { use oldest; cd "$tmp"; timeout 1500 unet_demo --out demo-old | tee old.txt; local s; s=$(score old.txt); say "mean IoU $s"; at_least "${s:-0}" 0.80 'mean IoU of the demo'; }

step 'install oldest versions' : oldest_install
step 'both spellings, oldest versions' after 'install oldest versions' : spellings oldest
step 'predict, oldest versions' after 'both spellings, oldest versions' : oldest_predict
step 'demo, oldest versions' after 'install oldest versions' : oldest_demo
