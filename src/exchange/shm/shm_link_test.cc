#include "exchange/shm/shm_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "exchange/error.h"

namespace concertina::exchange {
namespace {

using testing::HasSubstr;

constexpr Layout kLayout{.max_ranks = 4, .max_tokens = 2, .top_k = 1, .hidden_size = 8};

std::unique_ptr<ShmLink> link_of(std::uint32_t rank) {
  return ShmLink::create({.self = {RankId(rank), Incarnation(rank + 1)}, .layout = kLayout}).value();
}

TEST(ShmLink, WhoSeesAHeaderSeesWhatWasWrittenBeforeItAndIsWoken) {
  const auto first = link_of(0), second = link_of(3);
  const auto to_second = first->connect({{RankId(3), Incarnation(4)}, second->address()}).value();
  const auto to_first = second->connect({{RankId(0), Incarnation(1)}, first->address()}).value();
  const Header header{.incarnation = Incarnation(1), .position = {.epoch = Epoch(3), .index = 5}, .count = 7};
  const std::size_t bank = bank_of(header.position);
  EXPECT_EQ(to_first->look(Half::kResult, bank), std::nullopt);
  first->body()[kLayout.results(bank)] = std::byte{42};
  to_second->publish(Half::kResult, bank, header);
  const std::atomic<bool> abort{false};
  EXPECT_EQ(second->wait([&] { return to_first->look(Half::kResult, bank) == header; }, std::nullopt, abort),
            transport::WaitResult::kReady);
  EXPECT_EQ(to_first->body()[kLayout.results(bank)], std::byte{42});
  EXPECT_EQ(to_first->look(Half::kDispatch, bank), std::nullopt) << "the other half has its own slot";
}

TEST(ShmLink, AnAddressOfAnotherKindOrLengthIsRefused) {
  const auto link = link_of(0);
  for (const LinkAddress& address : {LinkAddress{LinkKind(7), std::string(8, 'x')},
                                     LinkAddress{LinkKind::kSharedMemory, "abc"}, LinkAddress{}}) {
    const auto peer = link->connect({{RankId(1), Incarnation(2)}, address});
    ASSERT_FALSE(peer);
    EXPECT_TRUE(peer.error().is(ExchangeError::kBadAddress));
    EXPECT_THAT(peer.error().message(), HasSubstr("the address of rank 1 is"));
    EXPECT_THAT(peer.error().message(), HasSubstr("expected 8 bytes of kind 1"));
  }
}

TEST(ShmLink, AnImpossibleConfigurationIsRefused) {
  const auto refused = [](auto change, const char* text) {
    ShmLink::Config config{.self = {RankId(0), Incarnation(1)}, .layout = kLayout};
    change(config);
    const auto link = ShmLink::create(config);
    ASSERT_FALSE(link);
    EXPECT_TRUE(link.error().is(ExchangeError::kBadConfig));
    EXPECT_THAT(link.error().message(), HasSubstr(text));
  };
  refused([](auto& c) { c.self.rank = RankId(4); }, "rank 4 is out of range: max_ranks is 4");
  refused([](auto& c) { c.layout.max_tokens = 0; }, "max_tokens is 0");
  refused([](auto& c) { c.layout.top_k = 0; }, "top_k is 0");
  refused([](auto& c) { c.layout.hidden_size = 0; }, "hidden_size is 0");
}

}  // namespace
}  // namespace concertina::exchange
