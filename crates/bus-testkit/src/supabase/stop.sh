# Ends every process of the shared stack, the REST servers before their database. Its argument: the folder of the stack.
folder=$1
rm -f "$folder/stack.json"
for file in "$folder"/processes/server-* "$folder"/processes/postgres; do
  [ -e "$file" ] || continue
  read -r pid started signal <"$file"
  # The same number may be another process by now.
  if [ "$(cut -d ' ' -f 22 "/proc/$pid/stat" 2>/dev/null)" = "$started" ]; then
    kill -s "$signal" "$pid"
    while [ -e "/proc/$pid" ] && [ "$(cut -d ' ' -f 3 "/proc/$pid/stat" 2>/dev/null)" != Z ]; do
      sleep 0.02
    done
  fi
  rm -f "$file"
done
rm -rf "$folder/data" "$folder/slots" "$folder"/*.log
