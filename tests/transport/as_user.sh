#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# as_user.sh COMMAND...: runs it as an ordinary user. As root: as nobody, who must be able to reach the command. As anybody
# else there is nothing to change, and the same test has run already.
[ "$(id -u)" -eq 0 ] || exit 77
command -v setpriv >/dev/null || exit 77
copy=$(mktemp -d /tmp/transport-test.XXXXXX) || exit 1
trap 'rm -rf "$copy"' EXIT
chmod 755 "$copy"
n=0
for word; do
  shift
  case $word in
    /*) if [ -f "$word" ] && [ -x "$word" ]; then
          n=$((n + 1))
          cp "$word" "$copy/$n-${word##*/}"
          word=$copy/$n-${word##*/}
        fi ;;
  esac
  set -- "$@" "$word"
done
cd / && setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
