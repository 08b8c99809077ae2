#pragma once

#include <array>
#include <map>
#include <vector>

#include "exchange/protocol/header.h"
#include "exchange/protocol/layout.h"
#include "sim/toy_model.h"

namespace concertina::sim {

struct Entry {
  Row row;
  std::uint32_t expert;
};

// The exchange memory of one rank: written by it alone, read by its peers, also after its death. A header is
// seen when it has arrived; what it speaks of lies there before.
struct Memory {
  struct Bank {
    std::map<RankId, exchange::Header> headers[2];  // of each half, by reader
    std::vector<Entry> entries;                     // grouped by reader: its header says where
    std::vector<Row> results;                       // likewise
    exchange::Position entries_of, results_of;  // what was written last: to notice reads that are too late
  };
  std::array<Bank, exchange::kBanks> banks;
};

}  // namespace concertina::sim
