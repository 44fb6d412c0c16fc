# A user's environment: the wheel alone, with the newest dependencies.
session package

wheel() { # from a copy, so that no stale build folder gets in
  venv user
  mkdir -p "$tmp/src"; files | tar --null -T - -c | tar -x -C "$tmp/src"
  pip wheel --no-deps -w "$tmp/wheel" "$tmp/src"
  python -m zipfile -l "$(echo "$tmp"/wheel/*.whl)" | tee "$tmp/listing"
  local f; for f in unet_nbdev/*.py; do grep -q "^$f " "$tmp/listing" || die "$f is not in the wheel"; done
  if grep -E '^(nbs|demo|models|tests?|benchmarks|\.ci)/' "$tmp/listing"; then die 'the wheel holds more than the package'; fi
}
user_install() { use user; pip install "$tmp"/wheel/*.whl; say "$(pip list 2>/dev/null | awk '$1~/^(torch|fastai|fastcore|timm)$/{printf "%s %s  ", $1, $2}')"; }
tiny_data() { use user; tiny; }
imports() { use user; cd "$tmp"; python "$top/.ci/imports.py"; }
guide() { # the code in CONTRIBUTING.md, in one go
  use user; cd "$tmp"; rm -rf g; mkdir g; cd g
  python "$top/.ci/guide.py" "$top/CONTRIBUTING.md"
}
release() { # what would be uploaded
  use user; pip install -q build twine
  (cd "$tmp/src" && python -m build --outdir "$tmp/dist" .)
  twine check --strict "$tmp"/dist/*
  tar -tzf "$tmp"/dist/*.tar.gz | sed 's|^[^/]*/||' | tee "$tmp/listing"
  local f; for f in settings.ini setup.py README.md LICENSE CHANGELOG.md unet_nbdev/all.py; do grep -qx "$f" "$tmp/listing" || die "$f is not in the sdist"; done
  if grep -E '^(nbs|demo|models|tests|benchmarks|\.ci|\.github)/' "$tmp/listing"; then die 'the sdist holds more than the package'; fi
}

step 'wheel' : wheel
step 'install for users' after 'wheel' : user_install
step 'tiny data' after 'install for users' : tiny_data
step 'imports stay light' after 'install for users' : imports
step 'both spellings, newest fastcore' after 'install for users' : spellings user
step 'code of CONTRIBUTING.md' after 'install for users' : guide
step 'what would be released' after 'install for users' : release
