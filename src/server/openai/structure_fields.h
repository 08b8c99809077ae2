#pragma once

#include <string>

#include "server/fields.h"
#include "server/openai/parameters.h"

namespace concertina::server::openai {

// What the answer must be like: OpenAI's response_format, vLLM's structured_outputs and its older guided_*,
// and llama.cpp's and SGLang's grammar, json_schema, regex and ebnf. One of them at most.
void read_structure(Fields& fields, const ParseContext& context, Parameters& out);

// A structure that a field asks for, as messages call it ("tool_choice"). Fails where it is bad, where
// another field has asked for one already, or where the server can make none; the error names the field and
// what is wrong in its source. Whatever thread this is: Parameters::structure_check says whether it was
// checked.
void ask_for_structure(Fields& fields, const std::string& name, request::StructureLanguage language,
                       std::string source, const ParseContext& context, Parameters& out);
// The same, of a JSON schema.
void ask_for_schema(Fields& fields, const std::string& name, const Json& schema, const ParseContext& context,
                    Parameters& out);

// Of a chat, once the prompt is known: where the structure begins, if the model thinks before it answers.
void place_structure(const ParseContext& context, Parameters& out);

}  // namespace concertina::server::openai
