#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""dump_test.py IOMMUFD_USER CLIENT: dumps of a running program and of one that has ended, against what the program says."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import walk

TOOL, CLIENT = sys.argv[1:3]
# Kinds of IOMMU, and the formats of their tables.
KINDS = [("amd", "amd_v1"), ("vtd", "vtd_second_stage"), ("amd-v2", "x86_64"), ("vtd-s1", "x86_64"), ("riscv", "riscv"),
         ("smmuv3", "arm_lpae_s2"), ("none", "amd_v1")]
OPTIONS = ["--enable-unsafe-noiommu-mode", "--memlock=unlimited"] + [f"-dedu,iommu={kind}" for kind, _ in KINDS]
NODES = [f"vfio{n}" for n in range(len(KINDS) - 1)] + [f"noiommu-vfio{len(KINDS) - 1}"]
BDFS = [f"0000:{n + 1:02x}:00.0" for n in range(len(KINDS))]


class Run:
    """The client under `run`, ready."""

    def __init__(self, mode="wait", options=()):
        self.front = subprocess.Popen([TOOL, "run", *OPTIONS, *options, "--", CLIENT, mode, *NODES],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pages = []  # (iova, pa, access)
        for line in self.front.stdout:
            word, *rest = line.split()
            if word == "ready":
                self.client = int(rest[0])
                return
            if word != "page":
                break
            self.pages.append((int(rest[0], 16), int(rest[1], 16), rest[2]))
        raise AssertionError("the client is not ready")

    def __enter__(self):
        return self

    def end(self):
        self.front.stdin.close()
        return self.front.wait(60)

    def __exit__(self, *exception):
        if self.front.poll() is None:
            self.front.kill()
        self.front.wait()
        self.front.stdin.close()
        self.front.stdout.close()


def dump(*arguments, **options):
    return subprocess.run([TOOL, "dump", *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)


class Dump(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name

    def check_directory(self, path, pages):
        """Every table of the dump translates every page, by the walker and by the runs of the JSON."""
        with open(f"{path}/index.json") as f:
            index = json.load(f)
        self.assertEqual(index["version"], 1)
        (context,) = index["contexts"]
        self.assertEqual(len(context["ioases"]), len(KINDS))
        self.assertEqual([(d["bdf"], d["iommu"]) for d in context["devices"]], list(zip(BDFS, (k for k, _ in KINDS))))
        seen = []
        for hwpt in context["hwpts"]:
            seen.append((hwpt["format"], hwpt["iommu"], [d["bdf"] for d in hwpt["devices"]]))
            self.assertEqual(hwpt["origin"], "automatic")
            tables = walk.Dump(f"{path}/{hwpt['pages']}")
            self.assertEqual(tables.root, int(hwpt["root"], 16))
            self.assertEqual(tables.format, hwpt["format"])
            with open(f"{path}/{hwpt['json']}") as f:
                details = json.load(f)
            self.assertEqual([int(t["address"], 16) for t in details["tables"]], list(tables.memory))
            expected = in_format(pages, hwpt["format"])
            for iova, pa, access in expected:
                self.assertEqual(tables.translate(iova), (pa, access), f"{hwpt['format']} {iova:#x}")
                self.assertEqual(tables.translate(iova + 0xABC), (pa + 0xABC, access))
            self.assertIsNone(tables.translate(0xFF000))
            self.assertIsNone(tables.translate(0x109000))
            self.assertEqual(expand(details["runs"]), expected)
            with open(f"{path}/{hwpt['text']}") as f:
                text = f.read()
            self.assertIn(f"root: table {hwpt['root']}, level {hwpt['top_level']}\n", text)
        self.assertEqual(seen, [(form, kind, [bdf]) for (kind, form), bdf in zip(KINDS, BDFS)])

    def test_a_running_program_by_its_own_number_and_by_that_of_run(self):
        with Run() as run:
            for n, pid in enumerate([run.front.pid, run.client]):
                out = f"{self.scratch}/{n}"
                os.mkdir(out)
                result = dump(pid, "--out", out)
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
                self.check_directory(out, run.pages)
            self.assertEqual(run.end(), 0)

    def test_prints_trees_and_json(self):
        with Run() as run:
            text = dump(run.client)
            self.assertEqual(text.returncode, 0, text.stderr)
            self.assertIn("context 1, hwpt ", text.stdout)
            self.assertIn("[1] 0x8000001000..0x8000001fff -> ", text.stdout)
            document = json.loads(dump(run.client, "--json").stdout)
            (context,) = document["contexts"]
            for hwpt in context["hwpts"]:
                self.assertEqual(expand(hwpt["runs"]), in_format(run.pages, hwpt["format"]))

    def test_the_tables_of_a_program_that_has_ended(self):
        for ways in [(), ("--paths=intercept",)]:
            with tempfile.TemporaryDirectory() as out, Run(options=["--dump-tables", out, *ways]) as run:
                self.assertEqual(os.listdir(out), [])
                self.assertEqual(run.end(), 0)
                self.check_directory(out, run.pages)

    def test_the_tables_of_a_program_that_is_killed(self):
        with Run(options=["--dump-tables", self.scratch]) as run:
            os.kill(run.client, signal.SIGKILL)
            self.assertEqual(run.front.wait(60), -signal.SIGKILL)
            self.check_directory(self.scratch, run.pages)

    def test_a_directory_that_does_not_do(self):
        with open(f"{self.scratch}/file", "w"):
            pass
        for path, why in [("/nonexistent/a", "there is no such directory"), (f"{self.scratch}/file", "Not a directory"),
                          (self.scratch, "is not empty")]:
            result = subprocess.run([TOOL, "run", "--dump-tables", path, "--", "echo", "started"],
                                    capture_output=True, text=True, timeout=60)
            self.assertEqual((result.returncode, result.stdout), (125, ""))
            self.assertIn(f"iommufd-user run: --dump-tables {path}: {why}", result.stderr)
            result = dump(os.getpid(), "--out", path)
            self.assertEqual(result.returncode, 1)
            self.assertIn(f"iommufd-user dump: --out {path}: {why}", result.stderr)

    def test_a_process_that_is_not_ours(self):
        result = dump(os.getpid())
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("is neither `iommufd-user run` nor a program under it", result.stderr)
        gone = subprocess.Popen(["true"])
        gone.wait()
        result = dump(gone.pid)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"there is no process {gone.pid}", result.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "needs to become another user")
    def test_a_process_of_another_user(self):
        def become_nobody():
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)

        copy = f"{self.scratch}/tool"
        subprocess.run(["cp", TOOL, copy], check=True)
        os.chmod(self.scratch, 0o755)
        with Run() as run:
            result = subprocess.run([copy, "dump", str(run.front.pid)], capture_output=True, text=True, timeout=60,
                                    preexec_fn=become_nobody)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn("belongs to another user", result.stderr)

    def test_no_socket_is_left_and_none_is_the_clients(self):
        def sockets(pid):
            with open("/proc/net/unix") as f:
                return [line for line in f if "iommufd-user/dump/" in line and line.split("/")[-1].strip() == str(pid)]

        with Run() as run:
            front = run.front.pid
            self.assertEqual(len(sockets(front)), 1)
            links = [os.readlink(f"/proc/{run.client}/fd/{n}") for n in os.listdir(f"/proc/{run.client}/fd")]
            self.assertEqual([link for link in links if link.startswith("socket:")], [])
            run.front.kill()
            run.front.wait()
            deadline = time.monotonic() + 10
            while sockets(front) and time.monotonic() < deadline:
                time.sleep(0.01)
            self.assertEqual(sockets(front), [])

    def test_dumps_while_the_program_maps_and_unmaps(self):
        with Run("churn") as run:
            fixed = {iova for iova, _, _ in run.pages}
            for _ in range(20):
                document = dump(run.client, "--json")
                self.assertEqual(document.returncode, 0, document.stderr)
                for hwpt in attached(json.loads(document.stdout)):
                    runs = expand(hwpt["runs"])
                    self.assertEqual([page for page in runs if page[0] in fixed], in_format(run.pages, hwpt["format"]))
            out = f"{self.scratch}/out"
            os.mkdir(out)
            self.assertEqual(dump(run.client, "--out", out).returncode, 0)
            with open(f"{out}/index.json") as f:
                index = json.load(f)
            for hwpt in attached(index):
                tables = walk.Dump(f"{out}/{hwpt['pages']}")
                for iova, pa, access in in_format(run.pages, hwpt["format"]):
                    self.assertEqual(tables.translate(iova), (pa, access))
            self.assertEqual(run.end(), 0)


def in_format(pages, form):
    """The pages with the access that the format can express: with x86-64 and RISC-V whoever may write may read."""
    widened = form in ("x86_64", "riscv")
    return [(iova, pa, "rw" if widened and "w" in access else access) for iova, pa, access in pages]


def attached(document):
    """The HWPTs that have a device, and not those that come and go."""
    (context,) = document["contexts"]
    hwpts = [hwpt for hwpt in context["hwpts"] if hwpt["devices"]]
    if len(hwpts) != len(KINDS):
        raise AssertionError(f"{len(hwpts)} HWPTs have a device")
    return hwpts


def expand(runs):
    """Runs as single pages: (iova, pa, access)."""
    pages = []
    for run in runs:
        iova, pa = int(run["iova"], 16), int(run["pa"], 16)
        for offset in range(0, int(run["last"], 16) - iova + 1, 4096):
            pages.append((iova + offset, pa + offset, run["access"]))
    return pages


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
