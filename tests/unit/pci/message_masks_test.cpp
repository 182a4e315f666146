// SPDX-License-Identifier: BSD-3-Clause
#include "pci/message_masks.hpp"

#include <thread>

namespace iommufd::pci {
namespace {

TEST(MessageMasks, masked_messages_are_pending_and_sent_once) {
  MessageMasks masks(3, Masked::kYes);
  EXPECT_FALSE(masks.raise(1));
  EXPECT_FALSE(masks.raise(1));
  EXPECT_EQ(masks.pending(0), 2u);
  EXPECT_TRUE(masks.set(1, Masked::kNo));
  EXPECT_EQ(masks.pending(0), 0u);
  EXPECT_FALSE(masks.set(1, Masked::kNo));
  EXPECT_TRUE(masks.raise(1));
  EXPECT_FALSE(masks.raise(0));
}

TEST(MessageMasks, the_mask_of_the_function_holds_back_all) {
  MessageMasks masks(2, Masked::kNo);
  masks.set_all(Masked::kYes);
  EXPECT_FALSE(masks.raise(0));
  EXPECT_FALSE(masks.set(0, Masked::kNo));  // its own mask says nothing while all are masked
  masks.set_all(Masked::kNo);
  EXPECT_TRUE(masks.take(0));
  EXPECT_FALSE(masks.take(0));
  EXPECT_FALSE(masks.take(1));
}

TEST(MessageMasks, pending_bits_have_words_of_64) {
  MessageMasks masks(130, Masked::kYes);
  for (const u32 v : {0u, 63u, 64u, 129u}) masks.raise(v);
  EXPECT_EQ(masks.pending(0), u64{1} << 63 | 1);
  EXPECT_EQ(masks.pending(1), 1u);
  EXPECT_EQ(masks.pending(2), 2u);
  masks.drop_pending();
  EXPECT_EQ(masks.pending(0) | masks.pending(1) | masks.pending(2), 0u);
}

// Whatever the order, the last message before an unmasking arrives.
TEST(MessageMasks, no_message_is_lost_between_raise_and_unmask) {
  for (int round = 0; round < 2000; ++round) {
    MessageMasks masks(1, Masked::kYes);
    masks.set_all(round % 2 != 0 ? Masked::kYes : Masked::kNo);
    std::atomic<int> sent{0};
    std::jthread other([&] { sent += masks.raise(0) ? 1 : 0; });
    sent += masks.set(0, Masked::kNo) ? 1 : 0;
    masks.set_all(Masked::kNo);
    sent += masks.take(0) ? 1 : 0;
    other.join();
    ASSERT_EQ(sent, 1) << round;
  }
}

}  // namespace
}  // namespace iommufd::pci
