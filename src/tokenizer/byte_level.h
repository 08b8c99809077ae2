#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// GPT-2's way of writing any byte as a printable character (Radford et al. 2019, "Language Models are
// Unsupervised Multitask Learners"): printable Latin-1 stands for itself, the 68 other bytes are U+0100 and
// up, in order.
namespace concertina::tokenizer {

std::string byte_to_character(std::uint8_t byte);

// The bytes that a token's text in a vocabulary stands for. A text with a character outside the alphabet
// (only added tokens have such) stands for its own UTF-8.
std::string token_bytes(std::string_view token_text);

// SentencePiece's way (byte fallback): a token "<0x0A>" for each byte, for characters without a token.
std::string fallback_token(std::uint8_t byte);
std::optional<std::uint8_t> byte_of_fallback_token(std::string_view token_text);

}  // namespace concertina::tokenizer
