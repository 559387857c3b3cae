# Background processes by name, for scripts/services and scripts/cluster, which source
# this. $dir/NAME is the directory of the process NAME; its id is in pid there and what it
# says in log. A process is only ever ended by the id that we noted when we
# started it.

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
fail() { say "$*"; exit 1; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# ready PORT: the node or writer there says that it is.
ready() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
    read -r _ status _ <&3
    [ "$status" = 200 ]
  ) 2>/dev/null
}

# runs NAME: what we started as NAME is running. Ids are given again, so the
# program's working directory has to be ours, or in it, too.
runs() {
  local pid cwd
  pid=$(cat "$dir/$1/pid" 2>/dev/null) || return 1
  cwd=$(readlink "/proc/$pid/cwd" 2>/dev/null) || return 1
  case $cwd/ in "$dir/$1"/*) ;; *) return 1 ;; esac
}

# start NAME PORT COMMAND...: in the background, as a session of its own. It has
# started when it listens on the port.
start() {
  local name=$1 port=$2
  shift 2
  mkdir -p "$dir/$name"
  if listens "$port"; then fail "port $port, which $name wants, is taken"; fi
  (
    cd "$dir/$name"
    setsid nohup "$@" >>log 2>&1 </dev/null &
    echo $! >pid
  )
  for _ in $(seq 600); do
    if listens "$port"; then return; fi
    runs "$name" || break
    sleep 0.1
  done
  tail -n 20 "$dir/$name/log" >&2
  fail "$name did not start; see $dir/$name/log"
}

# stop NAME...: all at once, and after 30 s with SIGKILL.
stop() {
  local name
  for name in "$@"; do
    if runs "$name"; then kill "$(cat "$dir/$name/pid")"; fi
  done
  for name in "$@"; do
    for _ in $(seq 300); do
      runs "$name" || break
      sleep 0.1
    done
    if runs "$name"; then
      say "$name does not stop: it is killed"
      kill -9 "$(cat "$dir/$name/pid")"
    fi
    rm -f "$dir/$name/pid"
  done
}

# status NAME...
status() {
  local name
  for name in "$@"; do
    if runs "$name"; then echo "$name runs ($(cat "$dir/$name/pid"))"; else echo "$name does not run"; fi
  done
}

# usage prints the comment at the top of the script.
usage() {
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}
