#pragma once

#include <concepts>
#include <span>
#include <vector>

#include "base/check.h"
#include "request/request.h"

// What a request does to logits before a token is drawn. A rule is pure: a function of the request, whose
// tokens are all that is known of its sequence, so that a stream that moved draws what it would have drawn.
namespace concertina::request {

// A logit l becomes (l > 0 ? l / divisor : l * divisor) + bias. A bias of minus infinity forbids the token.
struct LogitEdit {
  TokenId token = 0;
  float divisor = 1.0f;  // above 0
  float bias = 0.0f;     // a number or minus infinity
};

// How one token is drawn from a row of logits, in this order: mask, edits in their order, temperature, top_k,
// top_p, min_p. Plain data, which every device takes.
struct Drawing {
  std::span<const std::uint64_t> allowed;  // [ceil(vocab_size / 64)]: bit t % 64 of word t / 64; empty: all
  std::span<const LogitEdit> edits;        // a token may occur more than once
  float temperature = 1.0f;                // 0: the highest
  std::int32_t top_k = 0;                  // 0 or below: all
  float top_p = 1.0f;
  float min_p = 0.0f;
};

// Room for the edits of a step's rows, taken once.
class EditRoom {
 public:
  explicit EditRoom(std::size_t most) : most_(most) { edits_.reserve(most); }
  void clear() { edits_.clear(); }
  void add(const LogitEdit& edit) {
    CHECK(edits_.size() < most_, "room for {} edits", most_);
    edits_.push_back(edit);
  }
  std::size_t size() const { return edits_.size(); }
  std::span<const LogitEdit> since(std::size_t first) const { return std::span(edits_).subspan(first); }

 private:
  std::size_t most_;
  std::vector<LogitEdit> edits_;
};

// Static, so that rules in a list are one inlined function: a row pays for what its rules do and for no call.
// Whatever a rule holds on to (a mask) must live until the step is over.
template <typename Rule>
concept LogitsRule = requires(const Request& request, Drawing& drawing, EditRoom& room,
                              std::size_t max_model_len) {
  { Rule::max_edits(max_model_len) } -> std::same_as<std::size_t>;  // of one row
  { Rule::apply(request, drawing, room) } -> std::same_as<void>;
};

template <LogitsRule... Rules>
struct RulesInOrder {
  static constexpr std::size_t max_edits([[maybe_unused]] std::size_t max_model_len) {
    return (std::size_t{0} + ... + Rules::max_edits(max_model_len));
  }
  static Drawing drawing(const Request& request, EditRoom& room) {
    Drawing drawing;
    const std::size_t first = room.size();
    (Rules::apply(request, drawing, room), ...);
    drawing.edits = room.since(first);
    return drawing;
  }
};

struct Temperature {
  static constexpr std::size_t max_edits(std::size_t) { return 0; }
  static void apply(const Request& request, Drawing& drawing, EditRoom&) {
    drawing.temperature = request.sampling.temperature;
  }
};

struct Filters {
  static constexpr std::size_t max_edits(std::size_t) { return 0; }
  static void apply(const Request& request, Drawing& drawing, EditRoom&) {
    drawing.top_k = request.sampling.top_k;
    drawing.top_p = request.sampling.top_p;
    drawing.min_p = request.sampling.min_p;
  }
};

// In vLLM's order. A new rule is a struct and a place here; those that edit stand in the order of their
// edits: bias, repetition, frequency, presence.
using LogitsRules = RulesInOrder<Temperature, Filters>;

}  // namespace concertina::request
