//! Tokens to values.

use super::lexer::{Lexer, Token};
use super::{Kind, MAX_DEPTH, Member, Position, Problem, SyntaxError, Value};

/// Reads one value, which must be all there is but for blanks and comments.
pub fn read(text: &str) -> Result<Value, SyntaxError> {
    let mut reader = Reader::new(text);
    let value = reader.value(0)?;
    match reader.token {
        Token::End => Ok(value),
        _ => Err(reader.unexpected("the end of the file")),
    }
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    position: Position,
    token: Token,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Self { lexer: Lexer::new(text), position: Position { line: 1, column: 1 }, token: Token::End };
        reader.take();
        reader
    }

    /// Takes the token that stands here and reads the next. One that is none is an error only for whoever wants it, so
    /// that it is said of what it stands in and not of what stands before it.
    fn take(&mut self) -> Token {
        let (position, next) = self.lexer.next();
        self.position = position;
        std::mem::replace(&mut self.token, next)
    }

    fn wrong(&self, problem: Problem) -> SyntaxError {
        SyntaxError { position: self.position, within: Vec::new(), problem }
    }

    fn unexpected(&self, expected: &'static str) -> SyntaxError {
        self.wrong(match &self.token {
            Token::Malformed(problem) => problem.clone(),
            token => Problem::Unexpected { expected, found: token.describe() },
        })
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let position = self.position;
        if depth > MAX_DEPTH {
            return Err(self.wrong(Problem::TooDeep));
        }
        if !self.begins_value() {
            return Err(self.unexpected("a value"));
        }
        let kind = match self.take() {
            Token::Mark('{') => self.object(depth)?,
            Token::Mark(_) => self.array(depth)?,
            Token::String(text) => Kind::String(text),
            Token::Integer(number) => Kind::Integer(number),
            Token::Float(number) => Kind::Float(number),
            Token::Word(word) => match word.as_str() {
                "true" => Kind::Boolean(true),
                "false" => Kind::Boolean(false),
                _ => Kind::Null,
            },
            Token::End | Token::Malformed(_) => Kind::Null,
        };
        Ok(Value { position, kind })
    }

    /// Whether the token that stands here begins a value.
    fn begins_value(&self) -> bool {
        match &self.token {
            Token::Mark(mark) => matches!(mark, '{' | '['),
            Token::Word(word) => matches!(word.as_str(), "true" | "false" | "null"),
            Token::End | Token::Malformed(_) => false,
            Token::String(_) | Token::Integer(_) | Token::Float(_) => true,
        }
    }

    /// The rest of an object.
    fn object(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        let mut members = Vec::new();
        loop {
            let position = self.position;
            match &self.token {
                Token::Mark('}') => break,
                Token::String(_) => {}
                _ => return Err(self.unexpected("a key in double quotes, or `}`")),
            }
            let Token::String(key) = self.take() else { return Err(self.unexpected("a key in double quotes")) };
            let value = match self.token {
                Token::Mark(':') => {
                    self.take();
                    Some(self.value(depth + 1).map_err(|error| error.within(&key))?)
                }
                _ => None,
            };
            members.push(Member { position, key, value });
            if !self.separator('}', "`,` or `}`")? {
                break;
            }
        }
        self.take();
        Ok(Kind::Object(members))
    }

    /// The rest of an array.
    fn array(&mut self, depth: usize) -> Result<Kind, SyntaxError> {
        let mut values = Vec::new();
        while self.token != Token::Mark(']') {
            values.push(self.value(depth + 1)?);
            if !self.separator(']', "`,` or `]`")? {
                break;
            }
        }
        self.take();
        Ok(Kind::Array(values))
    }

    /// Takes a comma, if one stands here; answers whether more may follow.
    fn separator(&mut self, end: char, expected: &'static str) -> Result<bool, SyntaxError> {
        match &self.token {
            Token::Mark(',') => {
                self.take();
                Ok(true)
            }
            Token::Mark(mark) if *mark == end => Ok(false),
            _ => Err(self.unexpected(expected)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(text: &str) -> Vec<Member> {
        match read(text).expect("lenient JSON").kind {
            Kind::Object(members) => members,
            other => panic!("{other:?} is no object"),
        }
    }

    fn problem(text: &str) -> (u32, u32, Problem) {
        let error = read(text).expect_err("this is no JSON");
        (error.position.line, error.position.column, error.problem)
    }

    #[test]
    fn comments_and_trailing_commas_are_taken() {
        let found = members("// one\n{ /* two\n */ \"a\" : [1, 2,], // three\n \"b\": {\"c\": true,}, }\n");
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].position.line, found[1].position.column), (4, 2));
    }

    #[test]
    fn a_key_twice_is_two_members_in_order() {
        let values: Vec<_> = members(r#"{"run": 1, "sleep": 2, "run": 3}"#)
            .into_iter()
            .map(|member| (member.key, member.value.map(|value| value.kind)))
            .collect();
        let expected = [("run", 1), ("sleep", 2), ("run", 3)];
        assert_eq!(values, expected.map(|(key, number)| (key.to_owned(), Some(Kind::Integer(number)))));
    }

    #[test]
    fn a_key_may_have_no_value() {
        let found = members(r#"{"suspend", "yield"}"#);
        assert!(found.len() == 2 && found.iter().all(|member| member.value.is_none()));
    }

    #[test]
    fn what_is_wrong_is_said_where_it_stands() {
        assert_eq!(problem("{\n  \"a\": \"b\n}"), (2, 8, Problem::OpenString));
        assert_eq!(problem("[1, 2"), (1, 6, unexpected("`,` or `]`", "the end of the file")));
        assert_eq!(problem("{\"a\": 1 \"b\": 2}"), (1, 9, unexpected("`,` or `}`", "the string \"b\"")));
        assert_eq!(problem("{\"ä\": yes}"), (1, 7, unexpected("a value", "`yes`")));
        assert_eq!(problem("[1.2.3]"), (1, 2, Problem::Number("1.2.3".to_owned())));
        assert_eq!(problem("/* open"), (1, 1, Problem::OpenComment));
        assert_eq!(problem("1 2"), (1, 3, unexpected("the end of the file", "the number 2")));
        assert_eq!(problem(r#""\q""#), (1, 2, Problem::Escape("\\q".to_owned())));
    }

    fn unexpected(expected: &'static str, found: &str) -> Problem {
        Problem::Unexpected { expected, found: found.to_owned() }
    }

    #[test]
    fn escapes_are_resolved_surrogates_too() {
        let text = read(r#""a\u00e4\ud83d\ude00\n\"""#).expect("a string");
        assert_eq!(text.kind, Kind::String("aä😀\n\"".to_owned()));
        assert!(read(r#""\ud83d""#).is_err() && read(r#""\udc00""#).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_and_not_recursed_into() {
        let (_, column, found) = problem(&"[".repeat(100_000));
        assert_eq!((column as usize, found), (MAX_DEPTH + 2, Problem::TooDeep));
    }

    proptest! {
        #[test]
        fn strict_json_means_what_it_means_to_everybody(text in "[a-z\\\\\"/\u{e4}\n ]{0,20}", number in any::<i64>()) {
            let strict = serde_json::json!({ "text": text, "list": [number, null, true] }).to_string();
            let found = members(&strict);
            let value = |name: &str| found.iter().find(|member| member.key == name).and_then(|member| member.value.clone());
            prop_assert_eq!(value("text").map(|value| value.kind), Some(Kind::String(text)));
            let Some(Kind::Array(list)) = value("list").map(|value| value.kind) else { panic!("no list") };
            prop_assert_eq!(&list[0].kind, &Kind::Integer(i128::from(number)));
        }
    }
}
