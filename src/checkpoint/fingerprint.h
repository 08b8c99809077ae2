#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace concertina::checkpoint {

// Which of a model folder's files. kWeights: config.json, index files and *.safetensors, which whoever loads
// weights reads. kTexts: what only the front reads: tokenizer.json, tokenizer_config.json,
// chat_template.jinja, generation_config.json.
enum class Files : std::uint8_t { kWeights, kTexts };

// A folder's files, one a line: name, size, inode, when it was written and when its attributes were set last
// (by a write, too, and which nobody can set back), and a hash of what it says: of all of it, or of the
// header of a *.safetensors. Links are followed. Ranks that map files later must find the ones that the first
// ones found: weights of two would mix without a sign.
Result<std::string> fingerprint(const std::filesystem::path& folder, Files which = Files::kWeights);

// The same without the hashes, so that no file is read; enough to see that something changed.
Result<std::string> file_times(const std::filesystem::path& folder, Files which = Files::kWeights);
std::string file_times_in(const std::string& fingerprint);

// What a person needs to know of two that differ: the first file that does, and how. Empty if none does.
std::string describe_difference(const std::string& expected, const std::string& found);

// Names of the files that a fingerprint tells of.
std::vector<std::string> files_in(const std::string& fingerprint);

}  // namespace concertina::checkpoint
