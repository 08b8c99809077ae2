#pragma once

#include <cstddef>

#include "request/structure.h"

// What a grammar may cost, whoever sent it: an error names the limit.
namespace concertina::grammar {

inline constexpr std::size_t kMaxSourceBytes = request::kMaxStructureBytes;
inline constexpr std::size_t kMaxDepth = 100;             // nesting of a source, and of a JSON value in it
inline constexpr std::size_t kMaxSchemaText = 8'000'000;  // bytes of all schemas, nested and combined
inline constexpr std::size_t kMaxNodes = 400'000;         // of all rules, before they are made deterministic
inline constexpr std::size_t kMaxEdges = 2'000'000;       // of them
inline constexpr std::size_t kMaxSetWork = 32'000'000;    // nodes that are looked at while that is done
inline constexpr std::size_t kMaxStates = 100'000;        // afterwards
inline constexpr std::size_t kMaxRules = 20'000;
inline constexpr std::size_t kMaxStacks = 512;            // ways in which one text may be read at once
inline constexpr std::size_t kMaxTableWork = 24'000'000;  // nodes of tries that compiling visits: some 200 ms

}  // namespace concertina::grammar
