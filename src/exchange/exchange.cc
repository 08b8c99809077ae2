#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/test_points.h"
#include "exchange/shm_exchange_state.h"

namespace concertina::exchange {

using transport::Doorbell;

namespace {

// Where the time of one exchange goes: each part ends where the next begins.
class PartClock {
 public:
  explicit PartClock(Time begin) : last_(begin) {}
  void end(Part part) {
    const Time now = Doorbell::now();
    times_[part] += now - std::exchange(last_, now);
  }
  void add_to(PartTimes& times) const {
    for (const Part part : kParts) times[part] += times_[part];
  }

 private:
  Time last_;
  PartTimes times_;
};

}  // namespace

const char* name_of(Part part) {
  switch (part) {
    case Part::kRoute:
      return "route";
    case Part::kDispatch:
      return "dispatch";
    case Part::kWait:
      return "wait";
    case Part::kCompute:
      return "compute";
    case Part::kCombine:
      return "combine";
  }
  return "";
}

// Results are published only after all dispatch headers are in, and every member waits for the results of
// all: so whoever completes an exchange knows that every member has seen the same headers, and that its own
// rows are free again.
Status ShmExchange::State::run(const Exchange& exchange) {
  const std::optional<Time> routed_since = std::exchange(layer_begun, std::nullopt);
  PartClock clock(routed_since ? *routed_since : Doorbell::now());
  if (routed_since) clock.end(Part::kRoute);
  const bool was_void = std::exchange(is_void, true);  // until it has succeeded
  if (was_void || aborted.load(std::memory_order_acquire))
    return fail(ExchangeError::kAborted,
                fmt::format("the step is void: {}", describe(config.rank, progress.position())));
  write_dispatch(exchange);
  clock.end(Part::kDispatch);
  at_test_point(TestPoint::kDispatchWritten);
  RETURN_IF_ERROR(await(Half::kDispatch));
  clock.end(Part::kWait);
  at_test_point(TestPoint::kDispatchIn);
  if (progress.at_first_exchange()) note_first_headers();
  RETURN_IF_ERROR(compute(exchange));
  write_results();
  clock.end(Part::kCompute);
  at_test_point(TestPoint::kResultsWritten);
  RETURN_IF_ERROR(await(Half::kResult));
  clock.end(Part::kWait);
  at_test_point(TestPoint::kResultsIn);
  RETURN_IF_ERROR(check_results());
  combine(exchange);
  clock.end(Part::kCombine);
  clock.add_to(counters.part_times);
  progress.complete_exchange();
  ++counters.n_exchanges;
  n_completed.store(counters.n_exchanges, std::memory_order_relaxed);
  is_void = false;
  return {};
}

// Activations are written once, whoever needs them: peers read the rows that their entries name.
void ShmExchange::State::write_dispatch(const Exchange& exchange) {
  const model::RoutedTokens& tokens = exchange.tokens;
  count_entries(exchange);
  write_entries(exchange);
  if (n_members() > 1 && tokens.n_tokens > 0)
    std::memcpy(region.body().data() + layout.activations(bank()), tokens.hidden.data(),
                tokens.n_tokens * layout.row_bytes());
  std::uint64_t begin = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    publish(member, Half::kDispatch,
            {.incarnation = config.incarnation,
             .position = progress.position(),
             .flip_to = flip_to,
             .begin = begin,
             .count = scratch.n_sent[member],
             .n_rows = tokens.n_tokens,
             .load = load});
    begin += scratch.n_sent[member];
  }
}

void ShmExchange::State::count_entries(const Exchange& exchange) {
  std::fill_n(scratch.n_sent.begin(), n_members(), 0);
  const std::size_t n_entries = exchange.tokens.n_tokens * config.top_k;
  for (std::size_t i = 0; i < n_entries; ++i) {
    const ExpertId expert = exchange.tokens.expert_ids[i];
    CHECK(expert.value() < config.n_experts, "token {} wants expert {} of {}", i / config.top_k, expert,
          config.n_experts);
    const std::uint32_t member = view->owner(*exchange.moe_layer, expert);
    scratch.entry_member[i] = member;
    scratch.entry_position[i] = scratch.n_sent[member]++;
  }
}

void ShmExchange::State::write_entries(const Exchange& exchange) {
  std::uint32_t begin = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    scratch.next_sent[member] = begin;
    begin += scratch.n_sent[member];
  }
  Entry* entries = reinterpret_cast<Entry*>(region.body().data() + layout.entries(bank()));
  const std::size_t n_entries = exchange.tokens.n_tokens * config.top_k;
  for (std::size_t i = 0; i < n_entries; ++i)
    entries[scratch.next_sent[scratch.entry_member[i]]++] = {
        .row = static_cast<std::uint32_t>(i / config.top_k), .expert = exchange.tokens.expert_ids[i].value()};
}

void ShmExchange::State::note_first_headers() {
  scratch.flags.clear();
  scratch.loads.clear();
  for (std::size_t member = 0; member < n_members(); ++member) {
    scratch.flags.push_back(scratch.dispatch[member].flip_to);
    scratch.loads.push_back(scratch.dispatch[member].load);
  }
  flip = decide_flip(scratch.flags);
}

Status ShmExchange::State::compute(const Exchange& exchange) {
  for (std::size_t member = 0; member < n_members(); ++member) RETURN_IF_ERROR(check_dispatch(member));
  if (!exchange.moe_layer) return {};
  RETURN_IF_ERROR(read_entries(exchange));
  config.runner->run(*view->experts(), *exchange.moe_layer, group_rows(exchange));
  return {};
}

Status ShmExchange::State::check_dispatch(std::size_t member) const {
  const Header& header = scratch.dispatch[member];
  const bool fits = header.n_rows <= layout.max_tokens && header.count <= layout.max_entries() &&
                    header.begin <= layout.max_entries() - header.count &&
                    (header.count == 0 || config.n_moe_layers > 0);
  if (fits) return {};
  return fail(
      ExchangeError::kBadPeerData,
      fmt::format("dispatch of {}: {} entries from {}, {} rows; at most {} entries and {} rows are possible",
                  describe_member(member), header.count, header.begin, header.n_rows, layout.max_entries(),
                  layout.max_tokens));
}

// Copies the entries, each read once from the peer's memory and checked: what was checked is what is used.
Status ShmExchange::State::read_entries(const Exchange& exchange) {
  const model::ExpertSet& experts = *view->experts();
  std::fill(scratch.slot_begin.begin(), scratch.slot_begin.end(), 0);
  std::size_t n = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    const Header& header = scratch.dispatch[member];
    const Entry* entries =
        reinterpret_cast<const Entry*>(body_of(member) + layout.entries(bank())) + header.begin;
    for (std::size_t i = 0; i < header.count; ++i) {
      const Entry entry = entries[i];
      const std::uint32_t slot = experts.slot(*exchange.moe_layer, entry.expert);
      if (entry.row >= header.n_rows || slot == model::ExpertSet::kNoSlot)
        return fail(
            ExchangeError::kBadPeerData,
            fmt::format(
                "dispatch of {}: entry {} wants expert {} for row {}; there are {} rows, and rank {} {}",
                describe_member(member), i, entry.expert, entry.row, header.n_rows, config.rank,
                slot == model::ExpertSet::kNoSlot ? "does not hold it" : "holds it"));
      scratch.received[n++] = {.row = entry.row, .expert = slot};
      ++scratch.slot_begin[slot + 2];  // of the next slot's begin: see group_rows
    }
    if (member != view->self()) counters.bytes_read += header.count * layout.row_bytes();
  }
  return {};
}

// Sorts the received entries by slot (by counting). Rows are read where the peer wrote them, and results are
// written where the peer reads them: the i-th entry's at the i-th result row.
model::SlotRows ShmExchange::State::group_rows(const Exchange& exchange) {
  const std::size_t n_slots = view->experts()->slots(*exchange.moe_layer).size();
  // next[slot] goes from the slot's begin to its end, which is the next one's begin.
  const std::span<std::uint32_t> next = std::span(scratch.slot_begin).subspan(1, n_slots + 1);
  for (std::size_t slot = 0; slot < n_slots; ++slot) next[slot + 1] += next[slot];
  float* result = reinterpret_cast<float*>(region.body().data() + layout.results(bank()));
  std::size_t n = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    const float* rows = member == view->self()
                            ? exchange.tokens.hidden.data()
                            : reinterpret_cast<const float*>(body_of(member) + layout.activations(bank()));
    for (std::size_t i = 0; i < scratch.dispatch[member].count; ++i, ++n, result += config.hidden_size) {
      const std::uint32_t place = next[scratch.received[n].expert]++;
      scratch.in[place] = rows + scratch.received[n].row * config.hidden_size;
      scratch.out[place] = result;
    }
  }
  return {std::span(scratch.slot_begin).first(n_slots + 1), scratch.in.first(n), scratch.out.first(n)};
}

void ShmExchange::State::write_results() {
  std::uint64_t begin = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    const std::uint64_t count = scratch.dispatch[member].count;
    publish(
        member, Half::kResult,
        {.incarnation = config.incarnation, .position = progress.position(), .begin = begin, .count = count});
    begin += count;
  }
}

Status ShmExchange::State::check_results() const {
  for (std::size_t member = 0; member < n_members(); ++member) {
    const Header& header = scratch.result[member];
    if (header.count == scratch.n_sent[member] && header.begin <= layout.max_results() - header.count)
      continue;
    return fail(
        ExchangeError::kBadPeerData,
        fmt::format("results of {}: {} rows from {}; {} rows are expected, below {}", describe_member(member),
                    header.count, header.begin, scratch.n_sent[member], layout.max_results()));
  }
  return {};
}

void ShmExchange::State::combine(const Exchange& exchange) {
  const std::size_t n_entries = exchange.tokens.n_tokens * config.top_k;
  for (std::size_t i = 0; i < n_entries; ++i) {
    const std::uint32_t member = scratch.entry_member[i];
    const float* rows = reinterpret_cast<const float*>(body_of(member) + layout.results(bank()));
    scratch.result_rows[i] =
        rows + (scratch.result[member].begin + scratch.entry_position[i]) * config.hidden_size;
  }
  counters.bytes_read += (n_entries - scratch.n_sent[view->self()]) * layout.row_bytes();
  if (n_entries == 0) return;
  config.runner->combine(scratch.result_rows.first(n_entries), exchange.tokens.weights.first(n_entries),
                         exchange.tokens.n_tokens,
                         exchange.out.first(exchange.tokens.n_tokens * config.hidden_size));
}

}  // namespace concertina::exchange
