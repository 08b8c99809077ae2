#include "jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "jinja/expression_parser.h"

namespace concertina::jinja {

namespace {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Result<Body> parse_all() {
    ASSIGN_OR_RETURN(Body body, parse_body({}));
    return body;
  }

 private:
  // Up to a block tag with one of the words `ends` (left to be read, its "{%" is), or to the end where there
  // are none.
  Result<Body> parse_body(const std::vector<std::string_view>& ends) {
    RETURN_IF_ERROR(tokens_.enter());
    Body body;
    while (!tokens_.at(TokenKind::kEnd)) {
      const Token token = tokens_.next();
      tokens_.begin_tag();
      if (token.kind == TokenKind::kText) {
        body.push_back({token.line, TextStatement{token.text}});
      } else if (token.kind == TokenKind::kOutputBegin) {
        ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.parse_tuple());
        RETURN_IF_ERROR(tokens_.expect(TokenKind::kOutputEnd, "}}"));
        body.push_back({token.line, OutputStatement{std::move(value)}});
      } else {
        if (at_any(ends)) return tokens_.leave(), std::move(body);
        RETURN_IF_ERROR(parse_statement(token.line, body));
      }
    }
    tokens_.leave();
    if (!ends.empty()) return tokens_.unexpected(fmt::format("{{% {} %}}", ends.back()));
    return body;
  }

  bool at_any(const std::vector<std::string_view>& words) const {
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return tokens_.at_name(word); });
  }

  Status end_tag() { return tokens_.expect(TokenKind::kBlockEnd, "%}"); }

  Status end_block(std::string_view word) {
    RETURN_IF_ERROR(tokens_.expect_name(word));
    if (word == "endmacro" && tokens_.at(TokenKind::kName)) tokens_.next();  // the name again
    return end_tag();
  }

  Status parse_statement(int line, Body& out) {
    ASSIGN_OR_RETURN(const std::string word, tokens_.name("a statement"));
    if (word == "for") return parse_for(line, out);
    if (word == "if") return parse_if(line, out);
    if (word == "set") return parse_set(line, out);
    if (word == "macro") return parse_macro(line, out);
    if (word == "filter") return parse_filter(line, out);
    if (word == "generation") return parse_generation(out);
    if (word == "break" || word == "continue") return parse_jump(line, word, out);
    return template_error(
        fmt::format("line {}: unknown or unsupported statement \"{}\"; supported: for, if, set, macro, "
                    "filter, raw, generation, break, continue",
                    line, word));
  }

  Status parse_jump(int line, std::string_view word, Body& out) {
    if (n_loops_ == 0) return tokens_.error(fmt::format("\"{}\" outside of a loop", word));
    if (word == "break") {
      out.push_back({line, BreakStatement{}});
    } else {
      out.push_back({line, ContinueStatement{}});
    }
    return end_tag();
  }

  Result<std::vector<std::string>> parse_loop_targets() {
    const bool parenthesis = tokens_.accept_operator("(");
    std::vector<std::string> names;
    do {
      ASSIGN_OR_RETURN(std::string name, tokens_.name("a loop variable"));
      names.push_back(std::move(name));
    } while (tokens_.accept_operator(","));
    if (parenthesis) RETURN_IF_ERROR(tokens_.expect_operator(")"));
    return names;
  }

  Status parse_for(int line, Body& out) {
    ForStatement loop;
    ASSIGN_OR_RETURN(loop.targets, parse_loop_targets());
    RETURN_IF_ERROR(tokens_.expect_name("in"));
    ASSIGN_OR_RETURN(loop.iterable, expressions_.parse_tuple(InlineIf::kNot));
    if (tokens_.accept_name("if")) {
      ASSIGN_OR_RETURN(loop.condition, expressions_.parse());
    }
    if (tokens_.at_name("recursive")) return tokens_.error("recursive loops are not supported");
    RETURN_IF_ERROR(end_tag());
    ++n_loops_;
    ASSIGN_OR_RETURN(loop.body, parse_body({"else", "endfor"}));
    --n_loops_;
    if (tokens_.accept_name("else")) {
      RETURN_IF_ERROR(end_tag());
      ASSIGN_OR_RETURN(loop.otherwise, parse_body({"endfor"}));
    }
    out.push_back({line, std::move(loop)});
    return end_block("endfor");
  }

  Status parse_if(int line, Body& out) {
    IfStatement statement;
    do {
      ASSIGN_OR_RETURN(ExpressionPtr condition, expressions_.parse_tuple());
      RETURN_IF_ERROR(end_tag());
      ASSIGN_OR_RETURN(Body body, parse_body({"elif", "else", "endif"}));
      statement.branches.emplace_back(std::move(condition), std::move(body));
    } while (tokens_.accept_name("elif"));
    if (tokens_.accept_name("else")) {
      RETURN_IF_ERROR(end_tag());
      ASSIGN_OR_RETURN(statement.otherwise, parse_body({"endif"}));
    }
    out.push_back({line, std::move(statement)});
    return end_block("endif");
  }

  Result<Target> parse_target() {
    Target target;
    ASSIGN_OR_RETURN(target.name, tokens_.name("a variable"));
    if (tokens_.accept_operator(".")) {
      ASSIGN_OR_RETURN(target.attribute, tokens_.name("an attribute"));
    }
    return target;
  }

  Status parse_set(int line, Body& out) {
    SetStatement statement;
    do {
      ASSIGN_OR_RETURN(Target target, parse_target());
      statement.targets.push_back(std::move(target));
    } while (tokens_.accept_operator(","));
    if (!tokens_.accept_operator("=")) return parse_set_block(line, std::move(statement.targets), out);
    ASSIGN_OR_RETURN(statement.value, expressions_.parse_tuple());
    out.push_back({line, std::move(statement)});
    return end_tag();
  }

  Status parse_set_block(int line, std::vector<Target> targets, Body& out) {
    if (targets.size() != 1) return tokens_.unexpected("\"=\"");
    SetBlockStatement block;
    block.target = std::move(targets[0]);
    while (tokens_.accept_operator("|")) {
      ASSIGN_OR_RETURN(FilterCall filter, expressions_.parse_filter_call());
      block.filters.push_back(std::move(filter));
    }
    RETURN_IF_ERROR(end_tag());
    ASSIGN_OR_RETURN(block.body, parse_body({"endset"}));
    out.push_back({line, std::move(block)});
    return end_block("endset");
  }

  Status parse_macro(int line, Body& out) {
    MacroStatement macro;
    ASSIGN_OR_RETURN(macro.name, tokens_.name("a macro's name"));
    RETURN_IF_ERROR(tokens_.expect_operator("("));
    while (!tokens_.at_operator(")")) {
      Parameter parameter;
      ASSIGN_OR_RETURN(parameter.name, tokens_.name("a parameter"));
      if (tokens_.accept_operator("=")) {
        ASSIGN_OR_RETURN(parameter.fallback, expressions_.parse());
      }
      macro.parameters.push_back(std::move(parameter));
      if (!tokens_.accept_operator(",")) break;
    }
    RETURN_IF_ERROR(tokens_.expect_operator(")"));
    RETURN_IF_ERROR(end_tag());
    const int n_loops_outside = std::exchange(n_loops_, 0);
    ASSIGN_OR_RETURN(macro.body, parse_body({"endmacro"}));
    n_loops_ = n_loops_outside;
    out.push_back({line, std::move(macro)});
    return end_block("endmacro");
  }

  Status parse_filter(int line, Body& out) {
    FilterStatement block;
    do {
      ASSIGN_OR_RETURN(FilterCall filter, expressions_.parse_filter_call());
      block.filters.push_back(std::move(filter));
    } while (tokens_.accept_operator("|"));
    RETURN_IF_ERROR(end_tag());
    ASSIGN_OR_RETURN(block.body, parse_body({"endfilter"}));
    out.push_back({line, std::move(block)});
    return end_block("endfilter");
  }

  // transformers' mark around what the assistant says, for training masks: it changes nothing of the text.
  Status parse_generation(Body& out) {
    RETURN_IF_ERROR(end_tag());
    ASSIGN_OR_RETURN(Body body, parse_body({"endgeneration"}));
    for (Statement& statement : body) out.push_back(std::move(statement));
    return end_block("endgeneration");
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int n_loops_ = 0;  // around what is being parsed
};

}  // namespace

Result<Body> parse_template(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).parse_all();
}

}  // namespace concertina::jinja
