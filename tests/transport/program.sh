#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# program.sh ECHO_RUN PROGRAM [waits]: exit codes, signals, ends and nesting, seen from outside.
# "waits": the front waits a while for the server, as it does in a build with sanitizers.
run=$1 program=$2 waits=$3
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
failures=0

expect() { # WHAT EXPECTED SEEN
  if [ "$2" != "$3" ]; then
    echo "FAILED: $1: expected $2, saw $3"
    failures=$((failures + 1))
  fi
}

# Waits for the first line of a program's output.
await() {
  for _ in $(seq 500); do [ -s "$1" ] && return; sleep 0.01; done
  expect "the program's first line" "one" "none in 5 s"
}

# Waits until no process of ours has the word in its command line.
nobody_left() {
  for _ in $(seq 300); do
    pgrep -f "^$run .*$1" >/dev/null || return 0
    sleep 0.01
  done
  return 1
}

for code in 0 1 42 255; do
  "$run" -- "$program" exit "$code"
  expect "exit $code" "$code" $?
done

for signal in 6 9 10 11 15; do
  "$run" -- "$program" signal "$signal" 2>/dev/null
  expect "killed by $signal" $((128 + signal)) $?
done 2>/dev/null

"$run" -- /nonexistent/program 2>"$scratch/err"
expect "a missing program" 127 $?
grep -q "/nonexistent/program: No such file" "$scratch/err" || expect "its message" "No such file" "$(cat "$scratch/err")"
PATH=/usr/bin:/bin "$run" -- no-such-program-anywhere 2>/dev/null
expect "a program that PATH does not have" 127 $?
echo text >"$scratch/text"
"$run" -- "$scratch/text" 2>/dev/null
expect "a file that cannot be executed" 126 $?
"$run" -- / 2>/dev/null
expect "a directory" 126 $?
printf 'exit 7\n' >"$scratch/script" && chmod +x "$scratch/script"
"$run" -- "$scratch/script"
expect "a script without #!" 7 $?

# A signal that is sent to us reaches the program, once.
for signal in HUP INT TERM USR1 USR2 WINCH CONT ALRM RTMIN+3; do
  [ "$signal" = RTMIN+3 ] && continue
  coproc "$run" -- "$program" catch
  pid=$COPROC_PID
  read -r line <&"${COPROC[0]}"
  expect "the program that waits for $signal" ready "$line"
  kill -s "$signal" "$pid"
  read -r line <&"${COPROC[0]}"
  expect "what it got" "got $(kill -l "$signal")" "$line"
  wait "$pid"
  expect "its end" 0 $?
done

# SIGTERM with nobody who catches it.
"$run" -- "$program" wait >"$scratch/out" &
pid=$!
await "$scratch/out"
kill -TERM "$pid"
wait "$pid" 2>/dev/null
expect "ended by SIGTERM" 143 $?

# SIGKILL of the front ends the program too, and everything goes away.
"$run" -- "$program" wait >"$scratch/out2" &
pid=$!
await "$scratch/out2"
client=$(sed -n 's/pid //p' "$scratch/out2")
kill -KILL "$pid"
wait "$pid" 2>/dev/null
for _ in $(seq 300); do kill -0 "$client" 2>/dev/null || break; sleep 0.01; done
kill -0 "$client" 2>/dev/null && expect "the client of a killed front" gone alive
nobody_left wait || expect "processes after SIGKILL of the front" none "$(pgrep -af "^$run")"

# SIGKILL of the program.
"$run" -- "$program" wait >"$scratch/out3" &
pid=$!
await "$scratch/out3"
kill -KILL "$(sed -n 's/pid //p' "$scratch/out3")"
wait "$pid" 2>/dev/null
expect "the program was killed" 137 $?
nobody_left wait || expect "processes after SIGKILL of the program" none "$(pgrep -af "^$run")"

# A process that the program leaves behind is served to its end; nobody waits for it.
start=$(date +%s%N)
"$run" -- "$program" leave 100 "$scratch/left" | cat
expect "the end of a program that leaves a child" 0 "${PIPESTATUS[0]}"
[ -n "$waits" ] || [ $((($(date +%s%N) - start) / 1000000)) -lt 900 ] || expect "its end" "at once" "after its child"
for _ in $(seq 500); do [ -s "$scratch/left" ] && break; sleep 0.01; done
expect "what the child wrote" done "$(cat "$scratch/left" 2>/dev/null)"
nobody_left leave || expect "processes after that" none "$(pgrep -af "^$run")"

# run inside run.
"$run" -- "$run" -- "$program" exit 0 2>"$scratch/err"
expect "run inside run" 125 $?
grep -q "run. inside .run" "$scratch/err" || expect "its message" "run inside run" "$(cat "$scratch/err")"

# Standard input and output are the program's.
expect "a pipe through it" "through" "$(echo through | "$run" -- cat)"

# Job control: stopped with the program, and continued. In a process group of its own: SIGTSTP does not stop an orphaned
# one, as that of a build in the background is.
set -m
"$run" -- "$program" wait >"$scratch/out4" &
pid=$!
set +m
await "$scratch/out4"
client=$(sed -n 's/pid //p' "$scratch/out4")
kill -TSTP "$pid"
for _ in $(seq 100); do [ "$(awk '{print $3}' "/proc/$pid/stat")" = T ] && break; sleep 0.01; done
expect "the front after SIGTSTP" T "$(awk '{print $3}' "/proc/$pid/stat")"
expect "the program after SIGTSTP" T "$(awk '{print $3}' "/proc/$client/stat")"
kill -CONT "$pid"
for _ in $(seq 100); do [ "$(awk '{print $3}' "/proc/$client/stat")" = S ] && break; sleep 0.01; done
expect "the program after SIGCONT" S "$(awk '{print $3}' "/proc/$client/stat")"
kill -TERM "$pid"
wait "$pid" 2>/dev/null
expect "its end" 143 $?

[ "$failures" -eq 0 ]
