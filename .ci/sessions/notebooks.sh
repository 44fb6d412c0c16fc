# The developer's environment: README's second command, fastcore below 2. Every notebook as a test, and what is made from the notebooks.
session notebooks

dev_install() { venv dev; pip install -e '.[dev]'; pip check || true; }
notebooks() { # two notebooks at a time, one thread each
  use dev; export OMP_NUM_THREADS=1
  timeout 3000 nbdev_test --timing
  sed -n 's/^\(.*\.ipynb\): \([0-9]*\) secs$/\2 s  \1/p' "$log" | sort -rn >"$log.table"
  say "$(wc -l <"$log.table" | tr -d ' ') notebooks, $(awk '{n+=$1} END {print n}' "$log.table") s of work"
}
exported() { use dev; nbdev_clean; nbdev_export; tree_kept; clone_clean; }
readme() { use dev; python .ci/readme.py --check; }
site() { # smalldocs, which renders it, needs Python 3.11
  use dev
  if ! python -c 'import smalldocs' 2>/dev/null; then say "SKIPPED: no smalldocs for $(python -V)"; return; fi
  timeout 1200 python .ci/site.py "$tmp/site"; say "$(tail -n 1 "$log")"; tree_kept
}
bench_command() { # in a clone: it runs benchmarks/bench.py
  use dev; cd "$tmp"
  refuses nowhere o14 unet_bench --coco nowhere --out o14
  python "$top/benchmarks/test_bench.py"
}
remove_dev() { rm -rf "$tmp/dev"; find "$tmp/tmp" -mindepth 1 -maxdepth 1 -exec rm -rf {} +; } # 7 GB with a CUDA build of torch: never two of them

step 'install for developers' : dev_install
step 'notebooks run' after 'install for developers' : notebooks
step 'notebooks clean, modules exported' after 'install for developers' : exported
step 'README up to date' after 'install for developers' : readme
step 'site' after 'install for developers' : site
step 'both spellings, older fastcore' after 'install for developers' : spellings dev
step 'benchmark' after 'install for developers' : bench_command
