#include "exchange/cpu_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/test_points.h"

namespace concertina::exchange {

namespace {

// Where the time of one exchange goes: each part ends where the next begins.
class PartClock {
 public:
  explicit PartClock(Time begin) : last_(begin) {}
  static Time now() { return std::chrono::steady_clock::now(); }
  void end(Part part) {
    const Time now = PartClock::now();
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

CpuExchange::CpuExchange(const CpuExchangeConfig& config, Steps& steps, const Link& link,
                         model::ExpertRunner& runner)
    : config_(config), steps_(steps), body_(link.body()), runner_(runner) {}

Result<std::unique_ptr<CpuExchange>> CpuExchange::create(const CpuExchangeConfig& config, Steps& steps,
                                                         const Link& link, model::ExpertRunner& runner) {
  const auto bad = [](const std::string& what) {
    return fail(ExchangeError::kBadConfig, "exchange: " + what);
  };
  if (link.carries() != Link::Carries::kHeadersAndRows)
    return bad("the link carries headers alone, and rows go through its memory");
  if (config.n_moe_layers > 0 && config.n_experts == 0)
    return bad(fmt::format("{} MoE layers with {} experts", config.n_moe_layers, config.n_experts));
  std::unique_ptr<CpuExchange> exchange(new CpuExchange(config, steps, link, runner));
  ASSIGN_OR_RETURN(exchange->scratch_, Scratch::make(config.layout, config.n_experts));
  return exchange;
}

void CpuExchange::begin_layer() { layer_begun_ = PartClock::now(); }

Status CpuExchange::run_layer(MoeLayerId layer, const model::RoutedTokens& tokens, std::span<float> out) {
  const Layout& layout = config_.layout;
  CHECK(tokens.n_tokens <= layout.max_tokens, "{} tokens, at most {}", tokens.n_tokens, layout.max_tokens);
  CHECK(tokens.hidden.size() >= tokens.n_tokens * layout.hidden_size &&
        out.size() >= tokens.n_tokens * layout.hidden_size);
  CHECK(tokens.expert_ids.size() >= tokens.n_tokens * layout.top_k &&
        tokens.weights.size() >= tokens.n_tokens * layout.top_k);
  return run({.layer = layer, .tokens = tokens, .out = out});
}

Status CpuExchange::run_empty() { return run({}); }

const std::byte* CpuExchange::body_of(std::size_t member) const {
  const PeerLink* const peer = view().members()[member].link.get();
  return peer != nullptr ? peer->body() : body_;
}

// Results are published only after all dispatch headers are in, and every member waits for the results of
// all: so whoever completes an exchange knows that every member has seen the same headers, and that its own
// rows are free again.
Status CpuExchange::run(const Exchange& exchange) {
  const std::optional<Time> routed_since = std::exchange(layer_begun_, std::nullopt);
  PartClock clock(routed_since ? *routed_since : PartClock::now());
  if (routed_since) clock.end(Part::kRoute);
  RETURN_IF_ERROR(steps_.begin_exchange());
  const std::uint32_t next = steps_.position().exchange;  // of a void step it would say nothing
  if (exchange.layer)
    CHECK(exchange.layer->value() == next && next < config_.n_moe_layers,
          "MoE layer {} runs where {} of {} comes next", *exchange.layer, next, config_.n_moe_layers);
  write_dispatch(exchange);
  clock.end(Part::kDispatch);
  at_test_point(TestPoint::kDispatchWritten);
  RETURN_IF_ERROR(steps_.await(Half::kDispatch));
  clock.end(Part::kWait);
  at_test_point(TestPoint::kDispatchIn);
  RETURN_IF_ERROR(compute(exchange));
  write_results();
  clock.end(Part::kCompute);
  at_test_point(TestPoint::kResultsWritten);
  RETURN_IF_ERROR(steps_.await(Half::kResult));
  clock.end(Part::kWait);
  at_test_point(TestPoint::kResultsIn);
  RETURN_IF_ERROR(check_results());
  combine(exchange);
  clock.end(Part::kCombine);
  clock.add_to(steps_.counters().part_times);
  steps_.complete_exchange();
  return {};
}

// Activations are written once, whoever needs them: peers read the rows that their entries name.
void CpuExchange::write_dispatch(const Exchange& exchange) {
  const model::RoutedTokens& tokens = exchange.tokens;
  count_entries(exchange);
  write_entries(exchange);
  if (n_members() > 1 && tokens.n_tokens > 0)
    std::memcpy(body_ + layout_.activations(bank()), tokens.hidden.data(),
                tokens.n_tokens * layout_.row_bytes());
  std::uint64_t begin = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    steps_.publish(member, Half::kDispatch,
                   {.begin = begin, .count = scratch_.n_sent[member], .n_rows = tokens.n_tokens});
    begin += scratch_.n_sent[member];
  }
}

void CpuExchange::count_entries(const Exchange& exchange) {
  const EpochView& epoch = view();
  std::fill_n(scratch_.n_sent.begin(), n_members(), 0);
  const std::size_t n_entries = exchange.tokens.n_tokens * layout_.top_k;
  for (std::size_t i = 0; i < n_entries; ++i) {
    const ExpertId expert = exchange.tokens.expert_ids[i];
    CHECK(expert.value() < config_.n_experts, "token {} wants expert {} of {}", i / layout_.top_k, expert,
          config_.n_experts);
    const std::uint32_t member = epoch.owner(*exchange.layer, expert);
    scratch_.entry_member[i] = member;
    scratch_.entry_position[i] = scratch_.n_sent[member]++;
  }
}

void CpuExchange::write_entries(const Exchange& exchange) {
  std::uint32_t begin = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    scratch_.next_sent[member] = begin;
    begin += scratch_.n_sent[member];
  }
  Entry* entries = reinterpret_cast<Entry*>(body_ + layout_.entries(bank()));
  const std::size_t n_entries = exchange.tokens.n_tokens * layout_.top_k;
  for (std::size_t i = 0; i < n_entries; ++i)
    entries[scratch_.next_sent[scratch_.entry_member[i]]++] = {
        .row = static_cast<std::uint32_t>(i / layout_.top_k),
        .expert = exchange.tokens.expert_ids[i].value()};
}

Status CpuExchange::compute(const Exchange& exchange) {
  for (std::size_t member = 0; member < n_members(); ++member) RETURN_IF_ERROR(check_dispatch(member));
  if (!exchange.layer) return {};
  RETURN_IF_ERROR(read_entries(exchange));
  const model::SlotRows rows = group_rows(exchange);
  if (!rows.in.empty()) runner_.run(*view().experts(), *exchange.layer, rows);
  return {};
}

Status CpuExchange::check_dispatch(std::size_t member) const {
  const Header& header = steps_.header(Half::kDispatch, member);
  const bool fits = header.n_rows <= layout_.max_tokens && header.count <= layout_.max_entries() &&
                    header.begin <= layout_.max_entries() - header.count &&
                    (header.count == 0 || config_.n_moe_layers > 0);
  if (fits) return {};
  return fail(
      ExchangeError::kBadPeerData,
      fmt::format("dispatch of {}: {} entries from {}, {} rows; at most {} entries and {} rows are possible",
                  steps_.describe_member(member), header.count, header.begin, header.n_rows,
                  layout_.max_entries(), layout_.max_tokens));
}

// Copies the entries, each read once from the peer's memory and checked: what was checked is what is used.
Status CpuExchange::read_entries(const Exchange& exchange) {
  const model::ExpertSet& experts = *view().experts();
  std::fill(scratch_.slot_begin.begin(), scratch_.slot_begin.end(), 0);
  std::size_t n = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    const Header& header = steps_.header(Half::kDispatch, member);
    const Entry* entries =
        reinterpret_cast<const Entry*>(body_of(member) + layout_.entries(bank())) + header.begin;
    for (std::size_t i = 0; i < header.count; ++i) {
      const Entry entry = entries[i];
      const std::uint32_t slot = experts.slot(*exchange.layer, entry.expert);
      if (entry.row >= header.n_rows || slot == model::ExpertSet::kNoSlot)
        return fail(
            ExchangeError::kBadPeerData,
            fmt::format(
                "dispatch of {}: entry {} wants expert {} for row {}; there are {} rows, and rank {} {}",
                steps_.describe_member(member), i, entry.expert, entry.row, header.n_rows,
                view().members()[view().self()].rank,
                slot == model::ExpertSet::kNoSlot ? "does not hold it" : "holds it"));
      scratch_.received[n++] = {.row = entry.row, .expert = slot};
      ++scratch_.slot_begin[slot + 2];  // of the next slot's begin: see group_rows
    }
    if (member != view().self()) steps_.counters().bytes_read += header.count * layout_.row_bytes();
  }
  return {};
}

// Sorts the received entries by slot (by counting). Rows are read where the peer wrote them, and results are
// written where the peer reads them: the i-th entry's at the i-th result row.
model::SlotRows CpuExchange::group_rows(const Exchange& exchange) {
  const std::size_t n_slots = view().experts()->slots(*exchange.layer).size();
  // next[slot] goes from the slot's begin to its end, which is the next one's begin.
  const std::span<std::uint32_t> next = std::span(scratch_.slot_begin).subspan(1, n_slots + 1);
  for (std::size_t slot = 0; slot < n_slots; ++slot) next[slot + 1] += next[slot];
  float* result = reinterpret_cast<float*>(body_ + layout_.results(bank()));
  std::size_t n = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    const std::size_t count = steps_.header(Half::kDispatch, member).count;
    const float* rows = member == view().self()
                            ? exchange.tokens.hidden.data()
                            : reinterpret_cast<const float*>(body_of(member) + layout_.activations(bank()));
    for (std::size_t i = 0; i < count; ++i, ++n, result += layout_.hidden_size) {
      const std::uint32_t place = next[scratch_.received[n].expert]++;
      scratch_.in[place] = rows + scratch_.received[n].row * layout_.hidden_size;
      scratch_.out[place] = result;
    }
  }
  return {std::span(scratch_.slot_begin).first(n_slots + 1), scratch_.in.first(n), scratch_.out.first(n)};
}

void CpuExchange::write_results() {
  std::uint64_t begin = 0;
  for (std::size_t member = 0; member < n_members(); ++member) {
    const std::uint64_t count = steps_.header(Half::kDispatch, member).count;
    steps_.publish(member, Half::kResult, {.begin = begin, .count = count});
    begin += count;
  }
}

Status CpuExchange::check_results() const {
  for (std::size_t member = 0; member < n_members(); ++member) {
    const Header& header = steps_.header(Half::kResult, member);
    if (header.count == scratch_.n_sent[member] && header.begin <= layout_.max_results() - header.count)
      continue;
    return fail(ExchangeError::kBadPeerData,
                fmt::format("results of {}: {} rows from {}; {} rows are expected, below {}",
                            steps_.describe_member(member), header.count, header.begin,
                            scratch_.n_sent[member], layout_.max_results()));
  }
  return {};
}

void CpuExchange::combine(const Exchange& exchange) {
  const std::size_t n_tokens = exchange.tokens.n_tokens, n_entries = n_tokens * layout_.top_k;
  if (n_entries == 0) return;
  for (std::size_t member = 0; member < n_members(); ++member)
    scratch_.first_result[member] =
        reinterpret_cast<const float*>(body_of(member) + layout_.results(bank())) +
        steps_.header(Half::kResult, member).begin * layout_.hidden_size;
  for (std::size_t i = 0; i < n_entries; ++i)
    scratch_.result_rows[i] =
        scratch_.first_result[scratch_.entry_member[i]] + scratch_.entry_position[i] * layout_.hidden_size;
  steps_.counters().bytes_read += (n_entries - scratch_.n_sent[view().self()]) * layout_.row_bytes();
  runner_.combine(scratch_.result_rows.first(n_entries), exchange.tokens.weights.first(n_entries), n_tokens,
                  exchange.out.first(n_tokens * layout_.hidden_size));
}

}  // namespace concertina::exchange
