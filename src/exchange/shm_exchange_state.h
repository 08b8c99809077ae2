#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "exchange/epoch_builder.h"
#include "exchange/header_slot.h"
#include "exchange/protocol/header.h"
#include "exchange/protocol/layout.h"
#include "exchange/scratch.h"
#include "exchange/shm_exchange.h"
#include "transport/shm/region.h"

namespace concertina::exchange {

enum class Half : std::uint8_t { kDispatch, kResult };
const char* name_of(Half half);  // "dispatch"

// Tokens of one exchange; a MoE layer that is absent stands for the empty exchange of a dense model.
struct Exchange {
  std::optional<MoeLayerId> moe_layer;
  model::RoutedTokens tokens;
  std::span<float> out;  // [n_tokens, hidden_size]
};

// The inside of ShmExchange. Members of the view are spoken of by their index in it.
struct ShmExchange::State {
  State(const ExchangeConfig& config, const Layout& layout, transport::Region region, Scratch scratch);

  // One exchange, in the order of its parts (exchange.cc).
  Status run(const Exchange& exchange);
  void write_dispatch(const Exchange& exchange);
  void count_entries(const Exchange& exchange);
  void write_entries(const Exchange& exchange);
  void note_first_headers();
  Status compute(const Exchange& exchange);
  Status read_entries(const Exchange& exchange);
  Status check_dispatch(std::size_t member) const;
  model::SlotRows group_rows(const Exchange& exchange);
  void write_results();
  Status check_results() const;
  void combine(const Exchange& exchange);

  // Headers (headers.cc).
  void publish(std::size_t member, Half half, const Header& header);
  std::optional<Header> look(const EpochView::Peer& peer, Epoch epoch, std::uint64_t index, Half half) const;
  Status await(Half half);
  bool take_arrived(Half half, std::optional<Time> waiting_since);
  void suspect(std::size_t member, Half half);
  Status aborted_waiting(Half half) const;
  bool has_peer_started(const EpochView& of, const Position& first) const;

  std::size_t n_members() const { return view->members().size(); }
  std::size_t bank() const { return bank_of(progress.position().epoch, progress.position().index); }
  const std::byte* body_of(std::size_t member) const;  // this rank's own for itself
  std::string describe_member(std::size_t member) const;

  const ExchangeConfig config;
  const Layout layout;
  transport::Region region;
  const transport::Doorbell doorbell;
  EpochBuilder builder;
  std::atomic<bool> aborted{false};
  std::atomic<std::uint64_t> n_completed{0};

  // The step thread's.
  std::shared_ptr<const EpochView> view;
  Progress progress;
  Epoch flip_to;
  scheduler::StepLoad load;
  std::optional<Epoch> flip;
  std::optional<Time> layer_begun;  // routing since then
  bool is_void = false;             // an exchange failed: nothing runs until an epoch is entered
  Scratch scratch;
  ExchangeCounters counters;
};

}  // namespace concertina::exchange
