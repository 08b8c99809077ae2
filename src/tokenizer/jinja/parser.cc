#include <initializer_list>

#include "tokenizer/jinja/syntax.h"

namespace concertina::tokenizer::jinja {

namespace {

using Kind = Expression::Kind;
constexpr std::size_t kMaxDepth = 200;

// Jinja's expression grammar, by recursive descent; each level calls the one that binds tighter.
class ExpressionParser {
 public:
  explicit ExpressionParser(const std::vector<Token>& tokens, std::size_t at = 0)
      : tokens_(tokens), at_(at) {}

  ExpressionPtr expression() {
    const Deeper deeper(*this);
    ExpressionPtr value = disjunction();
    if (!take_name("if")) return value;
    ExpressionPtr made = make(Kind::kConditional);
    made->operands.push_back(std::move(value));
    made->operands.push_back(disjunction());
    made->operands.push_back(take_name("else") ? expression() : nullptr);
    return made;
  }
  // "a, b" makes a list, as a tuple would.
  ExpressionPtr expression_list() {
    ExpressionPtr first = expression();
    if (!is_operator(",")) return first;
    ExpressionPtr list = make(Kind::kList);
    list->operands.push_back(std::move(first));
    while (take(",")) {
      if (tokens_[at_].kind == Token::Kind::kEnd || is_operator(")")) break;
      list->operands.push_back(expression());
    }
    return list;
  }
  ExpressionPtr disjunction() {
    ExpressionPtr left = conjunction();
    while (take_name("or")) left = binary("or", std::move(left), conjunction());
    return left;
  }

  const Token& peek() const { return tokens_[at_]; }
  bool take(const char* op) { return is_operator(op) && (++at_, true); }
  bool take_name(const char* name) {
    return tokens_[at_].kind == Token::Kind::kName && tokens_[at_].text == name && (++at_, true);
  }
  std::string name() {
    if (tokens_[at_].kind != Token::Kind::kName) fail("a name");
    return tokens_[at_++].text;
  }
  void expect(const char* op) {
    if (!take(op)) fail(std::string("\"") + op + "\"");
  }
  void end() {
    if (tokens_[at_].kind != Token::Kind::kEnd) fail("the end of the tag");
  }
  [[noreturn]] void fail(const std::string& expected) const {
    throw TemplateError{tokens_[at_].line, "expected " + expected + ", found \"" + tokens_[at_].text + "\""};
  }
  std::vector<Argument> arguments() {  // after "("
    std::vector<Argument> out;
    while (!take(")")) {
      Argument argument;
      if (tokens_[at_].kind == Token::Kind::kName && tokens_[at_ + 1].kind == Token::Kind::kOperator &&
          tokens_[at_ + 1].text == "=") {
        argument.name = name();
        ++at_;
      }
      argument.value = expression();
      out.push_back(std::move(argument));
      if (!is_operator(")")) expect(",");
    }
    return out;
  }

 private:
  struct Deeper {
    explicit Deeper(ExpressionParser& parser) : parser(parser) {
      if (++parser.depth_ > kMaxDepth) throw TemplateError{parser.peek().line, "nested too deeply"};
    }
    ~Deeper() { --parser.depth_; }
    ExpressionParser& parser;
  };

  bool is_operator(const char* op) const {
    return tokens_[at_].kind == Token::Kind::kOperator && tokens_[at_].text == op;
  }
  bool is_name(std::size_t at, const char* name) const {
    return at < tokens_.size() && tokens_[at].kind == Token::Kind::kName && tokens_[at].text == name;
  }
  ExpressionPtr make(Kind kind) const {
    auto made = std::make_unique<Expression>();
    made->kind = kind;
    made->line = tokens_[at_].line;
    return made;
  }
  ExpressionPtr binary(std::string op, ExpressionPtr left, ExpressionPtr right) const {
    ExpressionPtr made = make(Kind::kBinary);
    made->text = std::move(op);
    made->operands.push_back(std::move(left));
    made->operands.push_back(std::move(right));
    return made;
  }
  ExpressionPtr unary(std::string op, ExpressionPtr operand) const {
    ExpressionPtr made = make(Kind::kUnary);
    made->text = std::move(op);
    made->operands.push_back(std::move(operand));
    return made;
  }
  ExpressionPtr conjunction() {
    ExpressionPtr left = negation();
    while (take_name("and")) left = binary("and", std::move(left), negation());
    return left;
  }
  ExpressionPtr negation() {
    const Deeper deeper(*this);
    return take_name("not") ? unary("not", negation()) : comparison();
  }
  ExpressionPtr comparison() {
    ExpressionPtr left = sum();
    for (;;) {
      bool found = false;
      for (const char* op : {"==", "!=", "<=", ">=", "<", ">"}) {
        if (take(op)) left = binary(op, std::move(left), sum()), found = true;
      }
      if (take_name("in")) {
        left = binary("in", std::move(left), sum()), found = true;
      } else if (is_name(at_, "not") && is_name(at_ + 1, "in")) {
        at_ += 2;
        left = unary("not", binary("in", std::move(left), sum())), found = true;
      }
      if (!found) return left;
    }
  }
  ExpressionPtr sum() {
    return chain({"+", "-"}, [this] { return chain({"~"}, [this] { return product(); }); });
  }
  ExpressionPtr product() {
    return chain({"*", "//", "/", "%"}, [this] { return power(); });
  }
  ExpressionPtr power() {
    return chain({"**"}, [this] { return prefixed(); });
  }
  template <typename Next>
  ExpressionPtr chain(std::initializer_list<const char*> ops, const Next& next) {
    ExpressionPtr left = next();
    for (bool found = true; found;) {
      found = false;
      for (const char* op : ops) {
        if (take(op)) left = binary(op, std::move(left), next()), found = true;
      }
    }
    return left;
  }
  ExpressionPtr prefixed() {
    const Deeper deeper(*this);
    if (take("-")) return unary("-", prefixed());
    if (take("+")) return prefixed();
    return tested(postfixed(primary()));
  }
  // Filters bind tighter than tests here, as in Jinja: x | f is t.
  ExpressionPtr tested(ExpressionPtr value) {
    while (take_name("is")) {
      const bool negated = take_name("not");
      ExpressionPtr test = make(Kind::kTest);
      test->text = name();
      test->operands.push_back(std::move(value));
      if (take("(")) {
        test->arguments = arguments();
      } else if (const Token& token = peek();
                 token.kind == Token::Kind::kString || token.kind == Token::Kind::kNumber) {
        test->arguments.push_back({"", primary()});  // is divisibleby 3
      }
      value = negated ? unary("not", std::move(test)) : std::move(test);
    }
    return value;
  }
  ExpressionPtr postfixed(ExpressionPtr value) {
    for (;;) {
      ExpressionPtr next;
      if (take(".")) {
        next = make(Kind::kAttribute);
        next->text = peek().kind == Token::Kind::kNumber ? tokens_[at_++].text : name();
      } else if (take("[")) {
        next = index();
      } else if (take("(")) {
        next = make(Kind::kCall);
        next->arguments = arguments();
      } else if (take("|")) {
        next = make(Kind::kFilter);
        next->text = name();
        if (take("(")) next->arguments = arguments();
      } else {
        return value;
      }
      next->operands.insert(next->operands.begin(), std::move(value));
      value = std::move(next);
    }
  }
  ExpressionPtr index() {  // after "["
    ExpressionPtr made = make(Kind::kIndex);
    std::vector<ExpressionPtr> parts;
    bool is_slice = false;
    for (parts.emplace_back(); !take("]");) {
      if (take(":")) {
        is_slice = true;
        parts.emplace_back();
      } else {
        parts.back() = expression();
      }
    }
    if (is_slice) {
      made->kind = Kind::kSlice;
      parts.resize(3);
    } else if (parts[0] == nullptr) {
      fail("an index");
    }
    made->operands = std::move(parts);
    return made;
  }
  ExpressionPtr primary() {
    const Deeper deeper(*this);
    const Token token = peek();
    ExpressionPtr made = make(Kind::kLiteral);
    if (token.kind == Token::Kind::kString || token.kind == Token::Kind::kNumber) {
      made->literal = token.value;
      ++at_;
      while (token.kind == Token::Kind::kString && peek().kind == Token::Kind::kString) {  // "a" "b"
        made->literal = made->literal.get<std::string>() + tokens_[at_++].text;
      }
      return made;
    }
    if (token.kind == Token::Kind::kName) return named(std::move(made));
    if (take("(")) {
      if (take(")")) return made->kind = Kind::kList, std::move(made);
      ExpressionPtr inside = expression_list();
      expect(")");
      return inside;
    }
    if (take("[")) {
      made->kind = Kind::kList;
      while (!take("]")) {
        made->operands.push_back(expression());
        if (!is_operator("]")) expect(",");
      }
      return made;
    }
    if (take("{")) {
      made->kind = Kind::kDict;
      while (!take("}")) {
        made->operands.push_back(expression());
        expect(":");
        made->operands.push_back(expression());
        if (!is_operator("}")) expect(",");
      }
      return made;
    }
    fail("a value");
  }
  ExpressionPtr named(ExpressionPtr made) {
    const std::string text = name();
    if (text == "true" || text == "True") {
      made->literal = true;
    } else if (text == "false" || text == "False") {
      made->literal = false;
    } else if (text == "none" || text == "None") {
      made->literal = nullptr;
    } else {
      made->kind = Kind::kName;
      made->text = text;
    }
    return made;
  }

  const std::vector<Token>& tokens_;
  std::size_t at_, depth_ = 0;
};

class TemplateParser {
 public:
  explicit TemplateParser(std::vector<Segment> segments) : segments_(std::move(segments)) {}

  Body parse() {
    Body body = parse_until({});
    if (at_ < segments_.size())
      throw TemplateError{segments_[at_].line, "\"" + keyword() + "\" without a beginning"};
    return body;
  }

 private:
  std::string keyword() const {
    const Segment& segment = segments_[at_];
    return segment.kind == Segment::Kind::kStatement ? segment.tokens[0].text : std::string();
  }

  // Up to, not including, a statement that begins with one of `ends`.
  Body parse_until(std::initializer_list<const char*> ends) {
    if (++depth_ > kMaxDepth) throw TemplateError{segments_[at_].line, "nested too deeply"};
    Body body;
    for (; at_ < segments_.size();) {
      const Segment& segment = segments_[at_];
      if (segment.kind == Segment::Kind::kText) {
        if (!segment.text.empty()) add(body, Node::Kind::kText)->text = segment.text;
        ++at_;
      } else if (segment.kind == Segment::Kind::kOutput) {
        ExpressionParser parser(segment.tokens);
        add(body, Node::Kind::kOutput)->expressions.push_back(parser.expression_list());
        parser.end();
        ++at_;
      } else {
        const std::string word = keyword();
        for (const char* end : ends) {
          if (word == end) return --depth_, std::move(body);
        }
        if (word.starts_with("end") || word == "else" || word == "elif") break;
        statement(word, body);
      }
    }
    --depth_;
    return body;
  }
  Node* add(Body& body, Node::Kind kind) {
    body.push_back(std::make_unique<Node>());
    body.back()->kind = kind;
    body.back()->line = segments_[at_].line;
    return body.back().get();
  }
  void expect_end(const char* word, std::size_t begin_line) {
    if (at_ >= segments_.size() || keyword() != word) {
      throw TemplateError{begin_line, std::string("no \"") + word + "\" for what begins here"};
    }
    ++at_;
  }

  void statement(const std::string& word, Body& body) {
    ExpressionParser parser(segments_[at_].tokens, 1);
    const std::size_t line = segments_[at_].line;
    if (word == "if") return parse_if(body);
    if (word == "for") return parse_for(parser, body);
    if (word == "set") return parse_set(parser, body);
    if (word == "macro") return parse_macro(parser, body);
    if (word == "break" || word == "continue") {
      add(body, word == "break" ? Node::Kind::kBreak : Node::Kind::kContinue);
      ++at_;
    } else if (word == "generation") {  // marks the assistant's words for training; renders what is inside
      ++at_;
      Body inside = parse_until({"endgeneration"});
      expect_end("endgeneration", line);
      for (auto& node : inside) body.push_back(std::move(node));
    } else {
      throw TemplateError{line, "unknown statement \"" + word + "\""};
    }
  }
  void parse_if(Body& body) {
    Node* const node = add(body, Node::Kind::kIf);
    for (std::string word = "if"; word == "if" || word == "elif";
         word = at_ < segments_.size() ? keyword() : "") {
      ExpressionParser parser(segments_[at_].tokens, 1);
      node->expressions.push_back(parser.expression());
      parser.end();
      ++at_;
      node->bodies.push_back(parse_until({"elif", "else", "endif"}));
    }
    if (at_ < segments_.size() && keyword() == "else") {
      ++at_;
      node->bodies.push_back(parse_until({"endif"}));
    }
    expect_end("endif", node->line);
  }
  void parse_for(ExpressionParser& parser, Body& body) {
    Node* const node = add(body, Node::Kind::kFor);
    do {
      node->names.push_back(parser.name());
    } while (parser.take(","));
    if (!parser.take_name("in")) parser.fail("\"in\"");
    node->expressions.push_back(parser.disjunction());
    node->expressions.push_back(parser.take_name("if") ? parser.expression() : nullptr);
    parser.end();
    ++at_;
    node->bodies.push_back(parse_until({"else", "endfor"}));
    if (at_ < segments_.size() && keyword() == "else") {
      ++at_;
      node->bodies.push_back(parse_until({"endfor"}));
    }
    expect_end("endfor", node->line);
  }
  void parse_set(ExpressionParser& parser, Body& body) {
    Node* const node = add(body, Node::Kind::kSet);
    node->names.push_back(parser.name());
    if (parser.take(".")) node->attribute = parser.name();
    while (parser.take(",")) node->names.push_back(parser.name());
    if (parser.take("=")) {
      node->expressions.push_back(parser.expression_list());
      parser.end();
      ++at_;
      return;
    }
    parser.end();
    ++at_;
    node->kind = Node::Kind::kSetBlock;
    node->bodies.push_back(parse_until({"endset"}));
    expect_end("endset", node->line);
  }
  void parse_macro(ExpressionParser& parser, Body& body) {
    Node* const node = add(body, Node::Kind::kMacro);
    node->text = parser.name();
    parser.expect("(");
    while (!parser.take(")")) {
      node->names.push_back(parser.name());
      node->expressions.push_back(parser.take("=") ? parser.expression() : nullptr);
      if (parser.peek().text != ")") parser.expect(",");
    }
    parser.end();
    ++at_;
    node->bodies.push_back(parse_until({"endmacro"}));
    expect_end("endmacro", node->line);
  }

  std::vector<Segment> segments_;
  std::size_t at_ = 0, depth_ = 0;
};

}  // namespace

Body parse_template(std::string_view source) { return TemplateParser(split_template(source)).parse(); }

}  // namespace concertina::tokenizer::jinja
