// SPDX-License-Identifier: BSD-3-Clause
#include "tests/torture/wrong_admin.hpp"

namespace torture {
namespace {

using nvme::Sqe;
using S = const AdminScene&;
using R = Random&;
constexpr u16 kDnr = kDoNotRetry;

enum AdminOpcode : u8 {
  kDeleteSq = 0,
  kCreateSq = 1,
  kGetLogPage = 2,
  kDeleteCq = 4,
  kCreateCq = 5,
  kIdentify = 6,
  kAbort = 8,
  kSetFeatures = 9,
  kGetFeatures = 0x0a,
};

Sqe get_log(S s, u8 page, u32 dwords, u64 offset = 0, u32 nsid = 0) {
  return {.opcode = kGetLogPage,
          .nsid = nsid,
          .prp1 = s.page,
          .cdw10 = {page | (dwords - 1) << 16 | 1 << 15, 0, static_cast<u32>(offset), static_cast<u32>(offset >> 32)}};
}
Sqe identify(S s, u32 what, u32 nsid) { return {.opcode = kIdentify, .nsid = nsid, .prp1 = s.page, .cdw10 = {what}}; }
// Queues of 16 entries.
Sqe create_cq(S s, u32 id, u32 vector = 0) {
  return {.opcode = kCreateCq, .prp1 = s.page, .cdw10 = {id | 15 << 16, 1 | vector << 16}};
}
Sqe create_sq(S s, u32 id, u32 cq) {
  return {.opcode = kCreateSq, .prp1 = s.page, .cdw10 = {id | 15 << 16, 1 | cq << 16}};
}
Sqe feature(u8 opcode, u32 fid, u32 value = 0, u32 nsid = 0) {
  return {.opcode = opcode, .nsid = nsid, .cdw10 = {fid, value}};
}
template <std::size_t N>
u8 one_of(const u8 (&values)[N], R r) {
  return values[pick(r, N)];
}
Sqe with_prp1(Sqe sqe, u64 prp1, u64 prp2 = 0) {
  sqe.prp1 = prp1;
  sqe.prp2 = prp2;
  return sqe;
}
Sqe with_flags(Sqe sqe, u32 flags) {
  sqe.flags = static_cast<u8>(flags);
  return sqe;
}

// In the order of the sheet: sections 5, 6 and 10. Pairs of commands that differ in the mistake stand together.
constexpr auto kCases = std::to_array<AdminCase>({
    {"5: not supported", kDnr | 0x0001, false,
     [](S s, R r) {
       Sqe sqe = identify(s, 1, 0);
       sqe.opcode = one_of({0x0d, 0x15, 0x80, 0x10, 0x11, 0x14, 0x81, 0x82, 0x84, 0x7f, 0x18, 0x7c, 0x03, 0xc0}, r);
       return sqe;
     }},
    {"5: PSDT", kDnr | 0x0002, false, [](S s, R r) { return with_flags(identify(s, 1, 0), 0x40u * (1 + pick(r, 3))); }},
    {"5: FUSE", kDnr | 0x0002, false, [](S s, R r) { return with_flags(identify(s, 1, 0), 1 + pick(r, 3)); }},

    {"5: CQ 0", kDnr | 0x0101, false, [](S s, R) { return create_cq(s, 0); }},
    {"5: CQ beyond", kDnr | 0x0101, false, [](S s, R r) { return create_cq(s, s.queues + 1u + pick(r, 9)); }},
    {"5: CQ exists", kDnr | 0x0101, false, [](S s, R) { return create_cq(s, s.live); }},
    {"5: CQ of one entry", kDnr | 0x0102, false,
     [](S s, R) {
       Sqe sqe = create_cq(s, s.absent);
       sqe.cdw10[0] = s.absent;
       return sqe;
     }},
    {"5: CQ beyond MQES", kDnr | 0x0102, false,
     [](S s, R r) {
       Sqe sqe = create_cq(s, s.absent);
       sqe.cdw10[0] = s.absent | (0x800 + pick(r, 0xf000)) << 16;
       return sqe;
     }},
    {"5: CQ base", kDnr | 0x0013, false,
     [](S s, R r) { return with_prp1(create_cq(s, s.absent), s.page + 4 * (1 + pick(r, 1000))); }},
    {"5: IV", kDnr | 0x0108, false, [](S s, R r) { return create_cq(s, s.absent, s.vectors + pick(r, 3000)); }},
    {"5: CQ in pieces", kDnr | 0x0002, false,
     [](S s, R) {
       Sqe sqe = create_cq(s, s.absent);
       sqe.cdw10[1] &= ~1u;
       return sqe;
     }},

    {"10: SQ with CQ 0", kDnr | 0x0101, false, [](S s, R) { return create_sq(s, s.absent, 0); }},
    {"10: SQ with a CQ beyond", kDnr | 0x0101, false,
     [](S s, R r) { return create_sq(s, s.absent, s.queues + 1u + pick(r, 9)); }},
    {"10: SQ with an absent CQ", kDnr | 0x0100, false, [](S s, R) { return create_sq(s, s.absent, s.absent); }},
    {"5: SQ 0", kDnr | 0x0101, false, [](S s, R) { return create_sq(s, 0, s.live); }},
    {"5: SQ exists", kDnr | 0x0101, false, [](S s, R) { return create_sq(s, s.live, s.live); }},
    {"5: SQ of one entry", kDnr | 0x0102, false,
     [](S s, R) {
       Sqe sqe = create_sq(s, s.absent, s.live);
       sqe.cdw10[0] = s.absent;
       return sqe;
     }},
    {"5: SQ base", kDnr | 0x0013, false,
     [](S s, R r) { return with_prp1(create_sq(s, s.absent, s.live), s.page + 4 * (1 + pick(r, 1000))); }},
    {"5: SQ in pieces", kDnr | 0x0002, false,
     [](S s, R) {
       Sqe sqe = create_sq(s, s.absent, s.live);
       sqe.cdw10[1] &= ~1u;
       return sqe;
     }},

    {"10: delete SQ 0", kDnr | 0x0101, false, [](S, R) { return feature(kDeleteSq, 0); }},
    {"10: delete an absent SQ", kDnr | 0x0101, false, [](S s, R) { return feature(kDeleteSq, s.absent); }},
    {"10: delete CQ 0", kDnr | 0x0101, false, [](S, R) { return feature(kDeleteCq, 0); }},
    {"10: delete an absent CQ", kDnr | 0x0101, false, [](S s, R) { return feature(kDeleteCq, s.absent); }},
    {"10: delete a CQ in use", kDnr | 0x010c, false, [](S s, R) { return feature(kDeleteCq, s.live); }},

    {"5: abort in an absent SQ", kDnr | 0x0002, false, [](S s, R) { return feature(kAbort, s.absent); }},
    {"5: abort", 0, false, [](S s, R r) { return feature(kAbort, s.live | pick(r, 100) << 16); }},

    {"5: log of errors", 0, false, [](S s, R) { return get_log(s, 1, 16); }},
    {"5: log longer than it is", 0, false, [](S s, R) { return get_log(s, 2, 1024); }},
    {"5: unknown log", kDnr | 0x0109, false,
     [](S s, R r) { return get_log(s, static_cast<u8>(0x10 + pick(r, 0x60)), 16); }},
    {"5: log behind its end", kDnr | 0x0002, false,
     [](S s, R r) { return get_log(s, 2, 16, 512 + 4 * pick(r, 1000)); }},
    {"5: offset in the log", kDnr | 0x0002, false, [](S s, R r) { return get_log(s, 2, 16, 1 + pick(r, 3)); }},
    {"5: SMART of a namespace", kDnr | 0x0002, false, [](S s, R) { return get_log(s, 2, 128, 0, 1); }},

    {"5: identify", 0, false, [](S s, R r) { return identify(s, 1, pick(r, 10)); }},
    {"5: unknown CNS", kDnr | 0x0002, false, [](S s, R r) { return identify(s, 0x20 + pick(r, 0xe0), 1); }},
    {"5: CNS 8", kDnr | 0x0002, false, [](S s, R) { return identify(s, 8, 1); }},
    {"5: identify NSID 0", kDnr | 0x000b, false, [](S s, R) { return identify(s, 0, 0); }},
    {"5: identify NSID beyond", kDnr | 0x000b, false,
     [](S s, R r) { return identify(s, 0, s.namespaces + 1 + pick(r, 9)); }},
    {"5: list of namespaces", kDnr | 0x000b, false, [](S s, R r) { return identify(s, 2, 0xffff'fffe + pick(r, 2)); }},
    {"7.1: offset of PRP1", kDnr | 0x0013, false,
     [](S s, R r) { return with_prp1(identify(s, 1, 0), s.page + 1 + pick(r, 3)); }},
    {"7.7: PRP2 is 0", kDnr | 0x0002, false, [](S s, R) { return with_prp1(identify(s, 1, 0), s.page + 3072); }},
    {"7.2: two pages", 0, false, [](S s, R) { return with_prp1(identify(s, 1, 0), s.page + 3072, s.page_behind); }},
    {"7.8: nothing at PRP1", kTransferError, true, [](S s, R) { return with_prp1(identify(s, 1, 0), *s.hole); }},
    {"7.8: nothing at PRP2", kTransferError, true,
     [](S s, R) { return with_prp1(identify(s, 1, 0), s.page + 3072, *s.hole); }},

    {"6: set unknown", kDnr | 0x0002, false,
     [](S, R r) { return feature(kSetFeatures, one_of({0x00, 0x03, 0x0c, 0x0d, 0x10, 0x11, 0x12, 0xc0}, r)); }},
    {"6: get unknown", kDnr | 0x0002, false,
     [](S, R r) { return feature(kGetFeatures, one_of({0x00, 0x03, 0x0c, 0x0d, 0x10, 0x11, 0x12, 0xc0}, r)); }},
    {"6: save", kDnr | 0x010d, false, [](S, R) { return feature(kSetFeatures, 0x8000'0001, 7); }},
    {"6: power state", kDnr | 0x0002, false, [](S, R r) { return feature(kSetFeatures, 2, 1 + pick(r, 31)); }},
    {"6: threshold", kDnr | 0x0002, false, [](S, R r) { return feature(kSetFeatures, 4, (2 + pick(r, 2)) << 20); }},
    {"6: too many queues", kDnr | 0x0002, false,
     [](S, R r) { return feature(kSetFeatures, 7, pick(r, 2) != 0 ? 0xffff : 0xffff'0000); }},
    {"6: queues after they exist", kDnr | 0x000c, false, [](S, R) { return feature(kSetFeatures, 7, 0x0003'0003); }},
    {"6: vector beyond", kDnr | 0x0002, false,
     [](S s, R r) { return feature(kSetFeatures, 9, s.vectors + pick(r, 99)); }},
    {"6: of a namespace", kDnr | 0x010f, false, [](S, R) { return feature(kSetFeatures, 8, 0, 1); }},
    {"6: get the number of queues", 0, false, [](S, R) { return feature(kGetFeatures, 7); }},
    {"6: error recovery of NSID 0", 0, false, [](S, R) { return feature(kGetFeatures, 5); }},
});

}  // namespace

std::span<const AdminCase> admin_cases() { return kCases; }

}  // namespace torture
