#pragma once

#include <string>
#include <string_view>

// Files that Python's json module wrote or would read, for parsers of strict JSON.
namespace concertina {

// Rewrites, outside strings, what Python takes and strict JSON does not: NaN, Infinity and -Infinity, and
// numbers that no double holds (1e999), become stand-ins; an integer beyond 64 bits becomes a floating-point
// number; a byte order mark goes. All else stays as it is, byte for byte.
std::string to_strict_json(std::string_view text);

// "NaN", "Infinity" or "-Infinity" for their stand-ins, "" for every other number. The stand-ins are numbers
// of 1.79e308 that nobody writes: no field of a checkpoint has that range, so that whoever needs the number
// refuses it.
std::string_view name_of_stand_in(double number);

}  // namespace concertina
