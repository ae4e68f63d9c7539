# Ends the stack that tests share, once nobody has used it for a while. Its arguments: the folder of the stack, minutes of
# patience, seconds between two looks.
# Users hold a shared lock on `users` while they run, so that the exclusive one is free only when there are none.
folder=$1
minutes=$2
seconds=$3
while sleep "$seconds"; do
  [ -e "$folder/stack.json" ] || exit 0
  [ "$(cat "$folder/reaper" 2>/dev/null)" = "$$" ] || exit 0
  [ -n "$(find "$folder/users" -mmin "-$minutes")" ] && continue
  flock --exclusive --nonblock "$folder/users" sh "$folder/stop.sh" "$folder" && exit 0
done
