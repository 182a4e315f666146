#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A full walk of /dev and /sys in both path views: names, types, modes, sizes, device numbers, link targets and contents are the same;
before an unbind, after it, and after the device is bound again.   views.py IOMMUFD-USER; with "walk" alone: the client's side."""
import json
import os
import stat
import subprocess
import sys

# What is ours, and the directories that we share: of those only what the machine shows everywhere is looked at (names and types).
OURS = ["/dev/iommu", "/dev/vfio", "/sys/class/vfio", "/sys/class/vfio-dev", "/sys/class/iommu", "/sys/devices/virtual/vfio",
        "/sys/devices/virtual/iommu", "/sys/devices/virtual/misc/iommu", "/sys/devices/virtual/misc/vfio",
        "/sys/devices/pci0000:81", "/sys/devices/pci0000:82", "/sys/kernel/iommu_groups", "/sys/module/vfio", "/sys/module/iommufd",
        "/sys/module/vfio_pci", "/sys/module/pci_stub", "/sys/bus/pci/drivers/vfio-pci", "/sys/bus/pci/drivers/pci-stub"]
SHARED = ["/dev", "/dev/char", "/sys", "/sys/bus/pci", "/sys/bus/pci/devices", "/sys/bus/pci/drivers", "/sys/class",
          "/sys/class/misc", "/sys/dev/char", "/sys/devices", "/sys/devices/virtual", "/sys/devices/virtual/misc",
          "/sys/kernel", "/sys/module"]
UNBIND, BIND = "/sys/bus/pci/drivers/vfio-pci/unbind", "/sys/bus/pci/drivers/vfio-pci/bind"


def content(path, st):
    if not stat.S_ISREG(st.st_mode):
        return None
    try:
        with open(path, "rb") as f:
            return f.read().hex()
    except OSError as error:
        return error.errno


def entry(path):
    st = os.lstat(path)
    out = {"mode": oct(st.st_mode), "nlink": st.st_nlink if not stat.S_ISDIR(st.st_mode) else 0}
    if stat.S_ISLNK(st.st_mode):
        out["target"] = os.readlink(path)
        out["leads"] = os.path.realpath(path) if os.path.exists(path) else None
    if stat.S_ISREG(st.st_mode):
        out["size"] = st.st_size
        out["content"] = content(path, st)
    if stat.S_ISCHR(st.st_mode):
        out["rdev"] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
    for mode in "RW":
        out["may" + mode] = os.access(path, getattr(os, mode + "_OK"), follow_symlinks=False)
    return out


def walk(path, out):
    out[path] = entry(path)
    if not os.path.isdir(path) or os.path.islink(path):
        return
    names = sorted(os.listdir(path))
    out[path]["names"] = names
    with os.scandir(path) as entries:
        types = {e.name: [e.is_dir(follow_symlinks=False), e.is_symlink(), e.is_file(follow_symlinks=False)] for e in entries}
    assert sorted(types) == names, path
    for name in names:
        walk(path + "/" + name, out)
        st = os.lstat(path + "/" + name)
        assert types[name] == [stat.S_ISDIR(st.st_mode), stat.S_ISLNK(st.st_mode), stat.S_ISREG(st.st_mode)], path + "/" + name


def whole():
    out = {}
    for path in OURS:
        walk(path, out)
    for path in SHARED:
        out["shared " + path] = sorted(n for n in os.listdir(path) if not n.isdigit())
        with os.scandir(path) as entries:
            for e in entries:
                st = os.lstat(path + "/" + e.name)
                assert e.is_symlink() == stat.S_ISLNK(st.st_mode), e.path
                assert e.is_dir(follow_symlinks=False) == stat.S_ISDIR(st.st_mode), e.path
    return out


def put(path, text):
    with open(path, "w") as f:
        f.write(text)


def client():
    states = [whole()]
    put(UNBIND, "0000:81:00.0")
    states.append(whole())
    put(BIND, "0000:81:00.0")
    states.append(whole())
    json.dump(states, sys.stdout)


def differences(a, b):
    return [f"{key}: {a.get(key)} and {b.get(key)}" for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]


def main():
    user, seen, failed = sys.argv[1], {}, False

    def check(title, problems):
        nonlocal failed
        print(("not ok - " if problems else "ok - ") + title)
        for p in problems[:20]:
            print("#   " + p)
        failed |= bool(problems)

    for view in ("intercept", "mount"):
        r = subprocess.run([user, "run", "--paths=" + view, "-d", "edu,addr=81:00.0", "-d", "edu,addr=82:00.0,iommu=none",
                            "--enable-unsafe-noiommu-mode", "--", sys.executable, os.path.abspath(__file__), "walk"],
                           capture_output=True, text=True)
        if view == "mount" and "--paths=mount:" in r.stderr:
            print("SKIPPED: " + r.stderr.strip())
            return 77
        if r.returncode != 0:
            print(r.stderr)
            return 1
        seen[view] = json.loads(r.stdout)
    for i, state in enumerate(("at the start", "without the driver", "with the driver again")):
        check(f"both views show the same {state} ({len(seen['mount'][i])} paths)",
              differences(seen["intercept"][i], seen["mount"][i]))
    for view, (before, without, after) in seen.items():
        check(f"{view}: what is bound again looks as before", differences(before, after))
        gone = {p for p in before if p not in without}
        want = {"/dev/vfio/0", "/dev/vfio/devices/vfio0", "/sys/class/vfio/0", "/sys/class/vfio-dev/vfio0",
                "/sys/bus/pci/drivers/vfio-pci/0000:81:00.0", "/sys/devices/pci0000:81/0000:81:00.0/driver",
                "/sys/devices/pci0000:81/0000:81:00.0/vfio-dev", "/sys/devices/virtual/vfio/0"}
        check(f"{view}: what goes with the driver", sorted(want - gone))
        check(f"{view}: nothing appears instead", sorted(p for p in without if p not in before))
        check(f"{view}: nothing of the other device goes", sorted(p for p in gone if "82:00" in p or "noiommu" in p))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(client() if sys.argv[1] == "walk" else main())
