// SPDX-License-Identifier: BSD-3-Clause
#include "base/packet.hpp"

#include <sys/eventfd.h>

#include "run/control.hpp"

namespace iommufd::run {
namespace {

struct Word {
  u64 value = 0;
};

TEST(Packet, carries_its_bytes_and_a_descriptor_or_none) {
  const ControlPair pair = ControlPair::create().value();
  const Fd event(::eventfd(7, EFD_CLOEXEC));
  ASSERT_TRUE(send_packet(pair.first, Word{1}, event.get()));
  ASSERT_TRUE(send_packet(pair.first, Word{2}));
  Word word;
  const Result<Fd> with = receive_packet(pair.second, word);
  ASSERT_TRUE(with && with->valid());
  EXPECT_EQ(word.value, 1u);
  eventfd_t count = 0;
  EXPECT_EQ(::eventfd_read(with->get(), &count), 0);
  EXPECT_EQ(count, 7u);
  const Result<Fd> without = receive_packet(pair.second, word);
  ASSERT_TRUE(without);
  EXPECT_FALSE(without->valid());
  EXPECT_EQ(word.value, 2u);
}

TEST(Packet, of_another_size_or_without_a_sender_is_an_error) {
  ControlPair pair = ControlPair::create().value();
  u32 half = 0;
  Word word;
  ASSERT_TRUE(send_packet(pair.first, half));
  EXPECT_EQ(receive_packet(pair.second, word).error(), Errno::kIo);
  pair.first = Fd();
  EXPECT_EQ(receive_packet(pair.second, word).error(), Errno::kIo);
  EXPECT_FALSE(send_packet(pair.second, word));
}

TEST(Packet, is_not_waited_for_when_told_so) {
  const ControlPair pair = ControlPair::create().value();
  Result<void> sent;
  for (int i = 0; i < 100'000 && sent; ++i) sent = send_packet(pair.first, Word{}, -1, SendMode::kDontWait);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error(), Errno::kAgain);
}

}  // namespace
}  // namespace iommufd::run
