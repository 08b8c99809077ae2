// A peer whose headers and entries say anything: the rank that reads them ends the step with an error or
// without, and never leaves the peer's memory.
#include <cstring>

#include "base/check.h"
#include "exchange/error.h"
#include "exchange/shm/header_slot.h"
#include "exchange/test_group.h"

namespace {

using namespace concertina;
using namespace concertina::exchange;

// Rank 0 is real, rank 1 is bare memory.
struct Peers {
  TestModel model{{.n_moe_layers = 1, .n_experts = 2, .top_k = 1}, 1};
  TestGroup group{model, 1, std::chrono::seconds(60)};
  Layout layout{model.shape.max_ranks, model.shape.max_tokens, model.shape.top_k, model.shape.hidden_size};
  transport::Region region = std::move(
      *transport::Region::create({RankId(1), Incarnation(101), layout.numbers()}, layout.body_bytes()));
  Epoch epoch{1};

  Peers() { group.addresses.push_back({{RankId(1), Incarnation(101)}, region.address()}); }

  void store(std::size_t offset, const Header& header) {
    reinterpret_cast<HeaderSlot*>(region.body().data() + offset)->store(header);
  }
};

struct Input {
  std::uint64_t begin, count, n_rows, result_begin, result_count;
  Entry entries[8];
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Peers peers;
  Input input{};
  std::memcpy(&input, data, std::min(size, sizeof(input)));
  peers.epoch = peers.epoch.next();
  cluster::EpochPlan plan{.epoch = peers.epoch,
                          .members = {{RankId(0), Incarnation(100)}, {RankId(1), Incarnation(101)}}};
  plan.placement.layers = {{{RankId(0), {ExpertId(0)}}, {RankId(1), {ExpertId(1)}}}};
  peers.group.rank(0)->enter_epoch(peers.group.view(0, plan));
  const std::size_t bank = bank_of(peers.epoch, 0);
  auto* const entries = reinterpret_cast<Entry*>(peers.region.body().data() + peers.layout.entries(bank));
  for (std::size_t i = 0; i < std::min<std::size_t>(8, peers.layout.max_entries()); ++i)
    entries[i] = input.entries[i];
  const Header header{.incarnation = Incarnation(101), .position = {.epoch = peers.epoch}};
  Header dispatch = header, result = header;
  dispatch.begin = input.begin, dispatch.count = input.count, dispatch.n_rows = input.n_rows;
  result.begin = input.result_begin, result.count = input.result_count;
  peers.store(peers.layout.header(Half::kDispatch, bank, RankId(0)), dispatch);
  peers.store(peers.layout.header(Half::kResult, bank, RankId(0)), result);
  Random random(2);
  TestTokens tokens(peers.model.shape, 2, random);
  tokens.expert_ids = {ExpertId(0), ExpertId(1)};
  std::vector<float> out(2 * peers.model.shape.hidden_size);
  peers.group.rank(0)->begin_step(StepId(0), Epoch{});
  const Status done = peers.group.rank(0).run_layer(MoeLayerId(0), tokens, out);
  CHECK(done || done.error().is(ExchangeError::kBadPeerData), "{}", done.error().message());
  return 0;
}
