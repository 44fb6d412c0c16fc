# Trainings by the commands: several models, several processes, faulty data, wrong settings, full disks and signals.
session train

wrong_settings() { # each ends before any image is opened, with the nearest name; the data is real, and the message is about the setting
  use user; cd "$tmp/t"
  local d=(--images folder/images --masks folder/masks --valid 'val_*') more
  for more in '' --plan_only; do
    refuses onecycle    w1 unet_train "${d[@]}" --sched onecycle --out w1/m.pth $more;    says one_cycle
    refuses resnet35    w2 unet_train "${d[@]}" --encoder resnet35 --out w2/m.pth $more;  says resnet34
    refuses dicee       w3 unet_train "${d[@]}" --loss dicee --out w3/m.pth $more;        says dice
    refuses tensorbord  w4 unet_train "${d[@]}" --log tensorbord --out w4/m.pth $more;    says tensorboard
    refuses fast        w5 unet_train "${d[@]}" --lr fast --out w5/m.pth $more;           says lr
  done
}
says() { grep -qw -- "$1" "$log.said" || die "the line does not say: $1"; }
folds() { # cross-validation, and all its models together
  use user; cd "$tmp/t"; rm -rf cv
  unet_train --images folder/images --masks folder/masks --folds 2 --max_steps 4 --bs 2 --crop 64 --out cv/m.pth | tee cv.txt
  grep -q '^cross-validation: mean Dice' cv.txt; has cv/m_fold1.pth cv/m_fold2.pth
  unet_predict --model cv/m_fold1.pth cv/m_fold2.pth --tta --input folder/images --output cv/drawn --json; has cv/drawn/results.json
}
doctor() { # finds what is broken, writes a copy that trains, leaves the data alone
  use user; cd "$tmp/t"; rm -rf sick repaired
  cp -r folder sick; : > sick/images/train_0.png
  python -c 'from PIL import Image; p="sick/masks/train_1.png"; Image.open(p).point(lambda v: v//255).save(p)'
  find sick -type f | sort | xargs $sha1 >sick.sum
  local rc=0; unet_doctor --data sick --json sick.json >sick.txt || rc=$?
  cat sick.txt; [ $rc = 1 ] || die "exit $rc, 1 is expected"
  grep -q 'empty file' sick.txt; grep -q 'mixed 0/255' sick.txt
  unet_doctor --images sick/images --masks sick/masks --repair repaired --html sick.html
  has sick.html sick.json repaired/doctor/changes.json
  $sha1 -c sick.sum
  unet_doctor --data repaired
  unet_train --data repaired --valid 'val_*' --max_steps 1 --bs 2 --size 64 --out copy.pth
  has copy.pth
}
mishaps() { # a full disk, a folder that can only be read, SIGTERM
  use user; cd "$tmp/t"; rm -rf mis; mkdir -p mis/small mis/ro mis/term
  local d=(--images folder/images --masks folder/masks --valid 'val_*' --bs 2 --crop 64 --device cpu) said='' rc=0 sum
  unet_train "${d[@]}" --max_steps 6 --out mis/whole.pth
  if mount -t tmpfs -o size=160m tmpfs mis/small 2>/dev/null; then
    unet_train "${d[@]}" --max_steps 6 --out mis/small/m.pth --session_hours 1e-9
    sum=$($sha1 <mis/small/m/last.ckpt)
    dd if=/dev/zero of=mis/small/filler bs=1M 2>/dev/null || true
    rc=0; unet_train --resume mis/small/m 2>full.txt || rc=$?
    cat full.txt; [ $rc = 2 ]; grep -q 'last.ckpt: could not be written (No space left' full.txt; grep -q 'm.pth: cannot be written (No space left on device)' full.txt
    [ "$sum" = "$($sha1 <mis/small/m/last.ckpt)" ]; [ ! -e mis/small/m.pth ]
    rm mis/small/filler; unet_train --resume mis/small/m; same_weights mis/whole.pth mis/small/m.pth
    umount mis/small; said+='full disk; '
  else said+='SKIPPED full disk (cannot mount); '; fi
  unet_train "${d[@]}" --max_steps 6 --out mis/ro/m.pth --session_hours 1e-9
  if mount --bind mis/ro mis/ro 2>/dev/null && mount -o remount,bind,ro mis/ro 2>/dev/null; then
    refuses --out o20 unet_train --resume mis/ro/m
    unet_train --resume mis/ro/m --out mis/rw/m.pth; same_weights mis/whole.pth mis/rw/m.pth
    umount mis/ro; said+='read-only; '
  else said+='SKIPPED read-only (cannot mount); '; fi
  unet_train "${d[@]}" --max_steps 6 --save_minutes 0 --out mis/term/m.pth & local pid=$!
  while kill -0 $pid 2>/dev/null && ! [ -e mis/term/m/last.ckpt ]; do sleep .05; done
  kill -TERM $pid; rc=0; wait $pid || rc=$?
  [ $rc = 143 ] || die "exit $rc after SIGTERM, 143 is expected"
  unet_train --resume mis/term/m; same_weights mis/whole.pth mis/term/m.pth
  say "${said}SIGTERM"
}
processes() { # two as one, by torchrun and by accelerate; started by two, finished by one
  use user; cd "$tmp/t"; rm -rf two
  local d=(--images folder/images --masks folder/masks --valid 'val_*' --bs 4 --crop 64 --device cpu)
  torchrun --standalone --no-python --nproc_per_node 2 unet_train "${d[@]}" --max_steps 6 --out two/a.pth | tee two.txt
  [ "$(grep -c wrote two.txt)" = 1 ]; has two/a.pth two/a/report.html; grep -q '"bs": 4' two/a/settings.json
  accelerate launch --cpu --num_processes 2 --no_python unet_train "${d[@]}" --max_steps 6 --out two/b.pth; has two/b.pth
  torchrun --standalone --no-python --nproc_per_node 2 unet_train "${d[@]}" --max_steps 40 --session_hours 1e-9 --out two/c.pth
  unet_train --resume two/c; has two/c.pth
}

step 'wrong settings are refused' after 'tiny data' : wrong_settings
step 'doctor' after 'tiny data' : doctor
step 'cross-validation' after 'tiny data' : folds
step 'two processes' after 'tiny data' : processes
step 'mishaps in training' after 'tiny data' : mishaps
