// SPDX-License-Identifier: BSD-3-Clause
#include "tests/torture/wrong_io.hpp"

namespace torture {
namespace {

using nvme::Sqe;
constexpr u16 kDnr = kDoNotRetry;

void set_start(Sqe& sqe, u64 block) {
  sqe.cdw10[0] = static_cast<u32>(block);
  sqe.cdw10[1] = static_cast<u32>(block >> 32);
}
u64 page_in(u64 hole, Random& random) { return hole + u64{pick(random, 64)} * nvme::kPage; }
// The list that PRP2 points to, as words.
u64* list_of(const Sqe& sqe, Slot& slot) { return slot.list(0) + sqe.prp2 % nvme::kPage / 8; }

// A part of the data that lies in its first page, and is not all of it.
u64 first_part(const Slot& slot, Random& r) {
  return 1 + r() % (std::min(slot.bytes(), nvme::kPage - slot.address(0) % nvme::kPage) - 1);
}

// In the order of the sheet: sections 5 (common checks), 7 and 10.
constexpr auto kMistakes = std::to_array<Mistake>({
    {"10: unknown opcode", kDnr | 0x0001, Mistake::kRange, false,
     [](Sqe& s, Slot&, const Limits&, Random& r) { s.opcode = static_cast<u8>(0x0d + pick(r, 0xf3)); }},
    {"10: fused", kDnr | 0x0002, Mistake::kRange, false,
     [](Sqe& s, Slot&, const Limits&, Random& r) { s.flags = static_cast<u8>(s.flags | (1 + pick(r, 3))); }},
    {"10: PSDT 3", kDnr | 0x0002, Mistake::kTransfer, false,
     [](Sqe& s, Slot&, const Limits&, Random&) { s.flags = 0xc0; }},
    {"7: NSID 0", kDnr | 0x000b, Mistake::kRange, false, [](Sqe& s, Slot&, const Limits&, Random&) { s.nsid = 0; }},
    {"7: NSID beyond NN", kDnr | 0x000b, Mistake::kRange, false,
     [](Sqe& s, Slot&, const Limits& l, Random& r) { s.nsid = l.namespaces + 1 + pick(r, 1000); }},
    {"7: all namespaces", kDnr | 0x000b, Mistake::kRange, false,
     [](Sqe& s, Slot&, const Limits&, Random&) { s.nsid = 0xffff'ffff; }},
    {"7: SLBA beyond NSZE", kDnr | 0x0080, Mistake::kRange, false,
     [](Sqe& s, Slot&, const Limits& l, Random& r) { set_start(s, l.blocks + pick(r, 1000)); }},
    {"7: last block beyond NSZE", kDnr | 0x0080, Mistake::kRange, false,
     [](Sqe& s, Slot&, const Limits& l, Random& r) { set_start(s, l.blocks - pick(r, (s.cdw10[2] & 0xffff) + 1)); }},
    {"7: SLBA + NLB wraps", kDnr | 0x0080, Mistake::kRange, false,
     [](Sqe& s, Slot&, const Limits&, Random& r) { set_start(s, ~u64{0} - pick(r, 8)); }},
    {"7: more than MDTS", kDnr | 0x0002, Mistake::kTransfer, false,
     [](Sqe& s, Slot&, const Limits& l, Random&) {
       set_start(s, 0);
       s.cdw10[2] = static_cast<u32>(l.most_bytes / l.block_size);
     }},
    {"7.1: offset of PRP1", kDnr | 0x0013, Mistake::kTransfer, false,
     [](Sqe& s, Slot&, const Limits&, Random& r) { s.prp1 += 1 + pick(r, 3); }},
    {"7.2: offset of PRP2", kDnr | 0x0013, Mistake::kTwoPages, false,
     [](Sqe& s, Slot&, const Limits&, Random& r) { s.prp2 += 4 * (1 + pick(r, 1000)); }},
    {"7.3: offset of the list", kDnr | 0x0013, Mistake::kPrpList, false,
     [](Sqe& s, Slot&, const Limits&, Random& r) { s.prp2 += 1 + pick(r, 7); }},
    {"7.5: offset of an entry", kDnr | 0x0013, Mistake::kPrpList, false,
     [](Sqe& s, Slot& slot, const Limits&, Random& r) { *list_of(s, slot) += 4 * (1 + pick(r, 1000)); }},
    {"7.7: PRP2 is 0", kDnr | 0x0002, Mistake::kTwoPages, false,
     [](Sqe& s, Slot&, const Limits&, Random&) { s.prp2 = 0; }},
    {"7.7: the list is 0", kDnr | 0x0002, Mistake::kPrpList, false,
     [](Sqe& s, Slot&, const Limits&, Random&) { s.prp2 = 0; }},
    {"7.8: nothing at PRP1", kTransferError, Mistake::kTransfer, true,
     [](Sqe& s, Slot&, const Limits& l, Random& r) { s.prp1 = page_in(*l.hole, r) + s.prp1 % nvme::kPage; }},
    {"7.8: nothing at PRP2", kTransferError, Mistake::kTwoPages, true,
     [](Sqe& s, Slot&, const Limits& l, Random& r) { s.prp2 = page_in(*l.hole, r); }},
    {"7.8: nothing at the list", kTransferError, Mistake::kPrpList, false,
     [](Sqe& s, Slot&, const Limits& l, Random& r) { s.prp2 = page_in(*l.hole, r) + s.prp2 % nvme::kPage; }},
    {"7.8: nothing at an entry", kTransferError, Mistake::kPrpList, true,
     [](Sqe& s, Slot& slot, const Limits& l, Random& r) {
       u64* list = list_of(s, slot);
       const bool link = s.prp2 % nvme::kPage == nvme::kPage - 8;
       (link ? slot.list(1) : list)[0] = page_in(*l.hole, r);
     }},
    {"7 SGL: reserved type", kDnr | 0x0011, Mistake::kScattered, false,
     [](Sqe& s, Slot& slot, const Limits&, Random& r) {
       set_sgl(s, descriptor(static_cast<u8>((4 + pick(r, 11)) << 4), slot.address(0), slot.bytes()));
     }},
    {"7 SGL: subtype", kDnr | 0x0011, Mistake::kScattered, false,
     [](Sqe& s, Slot& slot, const Limits&,
        Random& r) { set_sgl(s, descriptor(static_cast<u8>(1 + pick(r, 15)), slot.address(0), slot.bytes())); }},
    {"7 SGL: segment of no whole descriptors", kDnr | 0x000d, Mistake::kScattered, false,
     [](Sqe& s, Slot& slot, const Limits&, Random& r) {
       set_sgl(s, descriptor(Descriptor::kLastSegment, slot.list_address(0), 16 * pick(r, 4) + 1 + pick(r, 15)));
     }},
    {"7 SGL: empty segment", kDnr | 0x000d, Mistake::kScattered, false,
     [](Sqe& s, Slot& slot, const Limits&,
        Random&) { set_sgl(s, descriptor(Descriptor::kSegment, slot.list_address(0), 0)); }},
    {"7 SGL: too short", kDnr | 0x000f, Mistake::kScattered, false,
     [](Sqe& s, Slot& slot, const Limits&,
        Random& r) { set_sgl(s, descriptor(Descriptor::kData, slot.address(0), slot.bytes() - 1 - pick(r, 400))); }},
    {"7 SGL: too long", kDnr | 0x000f, Mistake::kScattered, false,
     [](Sqe& s, Slot& slot, const Limits&,
        Random& r) { set_sgl(s, descriptor(Descriptor::kData, slot.address(0), slot.bytes() + 1 + pick(r, 400))); }},
    {"7 SGL: a chain without end", kDnr | 0x000e, Mistake::kScattered, false,
     [](Sqe& s, Slot& slot, const Limits&, Random&) {
       const Descriptor self = descriptor(Descriptor::kSegment, slot.list_address(0), sizeof(Descriptor));
       std::memcpy(slot.list(0), &self, sizeof self);
       set_sgl(s, self);
     }},
    {"7.8: nothing at the segment", kTransferError, Mistake::kScattered, false,
     [](Sqe& s, Slot&, const Limits& l, Random& r) {
       set_sgl(s, descriptor(Descriptor::kLastSegment, page_in(*l.hole, r), 32));
     }},
    {"7.8: nothing at the data block", kTransferError, Mistake::kScattered, true,
     [](Sqe& s, Slot& slot, const Limits& l, Random& r) {
       set_sgl(s, descriptor(Descriptor::kData, page_in(*l.hole, r), slot.bytes()));
     }},
    {"7.8: nothing behind the first data block", kTransferError, Mistake::kScattered, true,
     [](Sqe& s, Slot& slot, const Limits& l, Random& r) {
       const u64 first = first_part(slot, r);
       const Descriptor parts[] = {descriptor(Descriptor::kData, slot.address(0), first),
                                   descriptor(Descriptor::kData, page_in(*l.hole, r), slot.bytes() - first)};
       std::memcpy(slot.list(0), parts, sizeof parts);
       set_sgl(s, descriptor(Descriptor::kLastSegment, slot.list_address(0), sizeof parts));
     }},
    {"7: a range beyond NSZE", kDnr | 0x0080, Mistake::kRanges, false,
     [](Sqe& s, Slot& slot, const Limits& l, Random& r) {
       // The last of the ranges, each u32 attributes, u32 blocks, u64 start.
       std::vector<u8> ranges(slot.bytes());
       slot.get(ranges);
       const u64 start = l.blocks - pick(r, 8);
       const u32 blocks = 8 + pick(r, 100);
       std::memcpy(ranges.data() + u64{s.cdw10[0]} * 16 + 4, &blocks, sizeof blocks);
       std::memcpy(ranges.data() + u64{s.cdw10[0]} * 16 + 8, &start, sizeof start);
       slot.set(ranges);
     }},
    {"7.8: nothing at the ranges", kTransferError, Mistake::kRanges, false,
     [](Sqe& s, Slot&, const Limits& l, Random& r) {
       s.flags = 0;
       s.prp1 = page_in(*l.hole, r);
     }},
});

}  // namespace

std::span<const Mistake> io_mistakes() { return kMistakes; }

}  // namespace torture
