#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Walks the .pages files of a dump as the hardware would, written from docs/dump.md and the specifications alone.

  walk.py FILE.pages IOVA...    prints the physical address and the access of each, or "-" for a fault
"""
import struct
import sys


class Dump:
    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        magic, version, page_size, self.root, self.top_level, self.va_bits, count, name = struct.unpack_from(
            "<8sIIQIIQ24s", data)
        if magic != b"IOMMUPT\0" or version != 1 or page_size != 4096:
            raise ValueError(f"{path}: not a dump of version 1")
        if len(data) != 64 + count * (16 + page_size):
            raise ValueError(f"{path}: {len(data)} bytes for {count} pages")
        self.format = name.rstrip(b"\0").decode()
        self.levels = {}
        self.memory = {}
        for at in range(64, len(data), 16 + page_size):
            address, level, zero = struct.unpack_from("<QII", data, at)
            if zero != 0 or address in self.memory:
                raise ValueError(f"{path}: page {address:#x}")
            self.levels[address] = level
            self.memory[address] = struct.unpack_from("<512Q", data, at + 16)

    def item(self, table, iova, level):
        if self.levels[table] != level:
            raise ValueError(f"table {table:#x} has level {self.levels[table]}, not {level}")
        return self.memory[table][iova >> (12 + 9 * level) & 511]

    def translate(self, iova):
        """(physical address, "rw"), or None."""
        return {"amd_v1": self.amd_v1, "vtd_second_stage": self.vtd_second_stage, "x86_64": self.x86_64,
                "riscv": self.riscv, "arm_lpae_s2": self.arm_lpae_s2}[self.format](iova)

    def covers(self, iova):
        return iova >> (21 + 9 * self.top_level) == 0

    def amd_v1(self, iova):
        # AMD IOMMU specification, "I/O Page Tables for Host Translations". A level here is the mode less one.
        if self.top_level < 5 and not self.covers(iova):
            return None
        table, read, write = self.root, True, True
        for level in range(self.top_level, -1, -1):
            pte = self.item(table, iova, level)
            if not pte & 1:
                return None
            read, write = read and bool(pte >> 61 & 1), write and bool(pte >> 62 & 1)
            address, next_level = pte & 0x000F_FFFF_FFFF_F000, pte >> 9 & 7
            if next_level == 7:  # the size is in the address: a zero above as many ones as there are
                bits = 12
                while address >> bits & 1:
                    bits += 1
                mask = (2 << bits) - 1
                return (address & ~mask) | (iova & mask), access(read, write)
            if next_level == 0:
                mask = (1 << (12 + 9 * level)) - 1
                return address | (iova & mask), access(read, write)
            if next_level != level:
                raise ValueError(f"next level {next_level} in a table of level {level}")
            table = address
        return None

    def vtd_second_stage(self, iova):
        # VT-d specification, "Second-Stage Paging Entries".
        if not self.covers(iova):
            return None
        table, permission = self.root, 3
        for level in range(self.top_level, -1, -1):
            pte = self.item(table, iova, level)
            permission &= pte
            if not pte & 3:
                return None
            address = pte & 0x000F_FFFF_FFFF_F000
            if level == 0 or pte >> 7 & 1:
                mask = (1 << (12 + 9 * level)) - 1
                return (address & ~mask) | (iova & mask), access(permission & 1, permission & 2)
            table = address
        return None

    def x86_64(self, iova):
        # Intel SDM volume 3, "4-level paging"; the lower half of the addresses.
        if not self.covers(iova):
            return None
        table, write = self.root, True
        for level in range(self.top_level, -1, -1):
            pte = self.item(table, iova, level)
            if not pte & 1:
                return None
            write = write and bool(pte & 2)
            address = pte & 0x000F_FFFF_FFFF_F000
            if level == 0 or pte & 0x80:
                mask = (1 << (12 + 9 * level)) - 1
                return (address & ~mask) | (iova & mask), access(True, write)
            table = address
        return None

    def riscv(self, iova):
        # RISC-V privileged specification, Sv39 to Sv57 and Svnapot; the lower half of the addresses.
        if not self.covers(iova):
            return None
        table = self.root
        for level in range(self.top_level, -1, -1):
            pte = self.item(table, iova, level)
            if not pte & 1:
                return None
            address = (pte >> 10 & (1 << 44) - 1) << 12
            if pte & 0xE:
                mask = (1 << (12 + 9 * level)) - 1
                if pte >> 63:
                    mask = 0xFFFF
                return (address & ~mask) | (iova & mask), access(pte & 2, pte & 4)
            table = address
        return None

    def arm_lpae_s2(self, iova):
        # Arm ARM, "VMSAv8-64 translation tables", stage 2 with 4 KiB granule. Arm's level 3 is level 0 here.
        if not self.covers(iova):
            return None
        table = self.root
        for level in range(self.top_level, -1, -1):
            descriptor = self.item(table, iova, level)
            if not descriptor & 1:
                return None
            address = descriptor & 0x0000_FFFF_FFFF_F000
            if level == 0 or not descriptor & 2:
                mask = (1 << (12 + 9 * level)) - 1
                return (address & ~mask) | (iova & mask), access(descriptor & 0x40, descriptor & 0x80)
            table = address
        return None


def access(read, write):
    return ("r" if read else "-") + ("w" if write else "-")


def main():
    dump = Dump(sys.argv[1])
    for text in sys.argv[2:]:
        found = dump.translate(int(text, 0))
        print("-" if found is None else f"{found[0]:#x} {found[1]}")


if __name__ == "__main__":
    main()
