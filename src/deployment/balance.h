#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace concertina::deployment {

// Which running requests should run elsewhere, so that ranks carry equal shares. Pure: what ranks carry goes
// in with the time, moves come out. One owner.
//
// Ranks carry requests and the tokens that these hold; neither alone makes them equal. Both are counted in
// *average requests*: of two ranks that differ by x requests and by y times the tokens of an average request
// the unevenness is x^2 + 4 y^2. A move must lower it by kLeastGain, so that at rest no two requests are
// worth changing places, and nothing goes round: what growing requests add to y only draws it towards x.
class Balance {
 public:
  static constexpr Duration kInterval = std::chrono::milliseconds(100);  // between two looks
  // What comes and goes evens out by itself: a difference of a quarter is left alone for half a second, of
  // half for a quarter of one, and so on. Simulated at model M's speed P95 of the most tokens of a rank over
  // the mean is lower by 0.03 than with 2 s, and first tokens come no later: a move costs a step a few
  // tokens.
  static constexpr double kLeastDifference = 0.25;
  static constexpr Duration kPatience = std::chrono::milliseconds(500),
                            kLeastPatience = std::chrono::milliseconds(100);
  static constexpr Duration kRest = std::chrono::seconds(10);  // of a request, between two moves
  static constexpr std::size_t kLeastLeft = 20;                // tokens; what ends sooner stays

  struct Rank {
    RankId rank;
    std::size_t n_places = 0;       // for more requests
    std::size_t n_tokens_free = 0;  // in its KV
  };
  struct Running {
    RequestId request;
    RankId rank;  // that it runs on, or moves to
    std::size_t n_tokens = 0;
    enum class Moves : std::uint8_t { kNo, kMay } moves = Moves::kMay;
  };
  struct Move {
    RequestId request;
    RankId to;
    bool operator==(const Move&) const = default;
  };

  // A rank that has nothing to do yet: what is uneven is evened out at the next look.
  void on_joined() { has_joined_ = true, next_look_.reset(); }
  bool is_time_to_look(Time now) const { return !next_look_ || now >= *next_look_; }

  // All moves at once, when requests or tokens of two ranks have differed, and moves that help were possible,
  // for as long as that takes.
  std::vector<Move> look(const std::vector<Rank>& ranks, const std::vector<Running>& running, Time now);

 private:
  std::optional<Time> next_look_;  // none: at once
  std::optional<Time> since_;      // moves that help are possible
  bool has_joined_ = false;        // a rank; and it is not evened out yet
};

// By which part the most requests or tokens of a rank exceed the fewest of another; of these two the larger.
double difference_of(const std::vector<Balance::Rank>& ranks, const std::vector<Balance::Running>& running);

// From the fullest rank to the emptiest first. Of requests the shortest that carries its share of what is to
// move: so tokens and requests are even after the fewest moves, and no more tokens travel than must.
std::vector<Balance::Move> plan_moves(const std::vector<Balance::Rank>& ranks,
                                      const std::vector<Balance::Running>& running);

}  // namespace concertina::deployment
