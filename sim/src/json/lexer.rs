//! Characters to tokens, without comments and white space.

use super::{Position, Problem};
use std::iter::Peekable;
use std::str::Chars;

/// One token.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    /// One of `{}[]:,`.
    Mark(char),
    String(String),
    Integer(i128),
    Float(f64),
    /// A bare word: `true`, `false`, `null` or a mistake.
    Word(String),
    End,
    /// What is no token, and why.
    Malformed(Problem),
}

impl Token {
    /// The token as a message shows it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Mark(mark) => format!("`{mark}`"),
            Self::String(text) => format!("the string \"{}\"", text.escape_debug()),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Word(word) => format!("`{}`", word.escape_debug()),
            Self::End => "the end of the file".to_owned(),
            Self::Malformed(problem) => problem.to_string(),
        }
    }
}

/// What is no token.
struct Malformed {
    position: Position,
    problem: Problem,
}

/// Reads tokens from a text.
pub(super) struct Lexer<'a> {
    characters: Peekable<Chars<'a>>,
    position: Position,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { characters: text.chars().peekable(), position: Position { line: 1, column: 1 } }
    }

    /// The next token and where it begins, or what is wrong there.
    pub(super) fn next(&mut self) -> (Position, Token) {
        self.token().unwrap_or_else(|wrong| (wrong.position, Token::Malformed(wrong.problem)))
    }

    fn token(&mut self) -> Result<(Position, Token), Malformed> {
        self.skip_blank()?;
        let start = self.position;
        let token = match self.peek() {
            None => Token::End,
            Some(mark @ ('{' | '}' | '[' | ']' | ':' | ',')) => {
                self.advance();
                Token::Mark(mark)
            }
            Some('"') => Token::String(self.string()?),
            Some('-' | '+' | '0'..='9') => number(start, self.word())?,
            Some(character) if character.is_alphanumeric() || character == '_' => Token::Word(self.word()),
            Some(character) => {
                self.advance();
                Token::Word(character.to_string())
            }
        };
        Ok((start, token))
    }

    fn peek(&mut self) -> Option<char> {
        self.characters.peek().copied()
    }

    fn advance(&mut self) -> Option<char> {
        let character = self.characters.next()?;
        if character == '\n' {
            self.position.line = self.position.line.saturating_add(1);
            self.position.column = 1;
        } else {
            self.position.column = self.position.column.saturating_add(1);
        }
        Some(character)
    }

    fn skip_blank(&mut self) -> Result<(), Malformed> {
        loop {
            match self.peek() {
                Some(character) if character.is_whitespace() => {
                    self.advance();
                }
                Some('/') => {
                    let start = self.position;
                    self.advance();
                    self.skip_comment(start)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// The rest of a comment whose first slash has been read.
    fn skip_comment(&mut self, start: Position) -> Result<(), Malformed> {
        match self.advance() {
            Some('/') => {
                while self.peek().is_some_and(|character| character != '\n') {
                    self.advance();
                }
                Ok(())
            }
            Some('*') => {
                let mut before = ' ';
                while let Some(character) = self.advance() {
                    if (before, character) == ('*', '/') {
                        return Ok(());
                    }
                    before = character;
                }
                Err(Malformed { position: start, problem: Problem::OpenComment })
            }
            _ => {
                let problem = Problem::Unexpected { expected: "a value or a comment", found: "`/`".to_owned() };
                Err(Malformed { position: start, problem })
            }
        }
    }

    /// What belongs to a number or a bare word.
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(character) = self.peek() {
            if !(character.is_alphanumeric() || matches!(character, '_' | '-' | '+' | '.')) {
                break;
            }
            word.push(character);
            self.advance();
        }
        word
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let start = self.position;
        let open = || Malformed { position: start, problem: Problem::OpenString };
        self.advance();
        let mut text = String::new();
        loop {
            let position = self.position;
            match self.advance().ok_or_else(open)? {
                '"' => return Ok(text),
                '\n' => return Err(open()),
                '\\' => {
                    let escape = self.advance().ok_or_else(open)?;
                    text.push(self.escaped(escape, position)?);
                }
                character => text.push(character),
            }
        }
    }

    fn escaped(&mut self, escape: char, position: Position) -> Result<char, Malformed> {
        let wrong = |text: String| Malformed { position, problem: Problem::Escape(text) };
        match escape {
            '"' | '\\' | '/' => Ok(escape),
            'b' => Ok('\u{8}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'u' => self.unicode(position),
            other => Err(wrong(format!("\\{}", other.escape_debug()))),
        }
    }

    /// Four hexadecimal digits, or two such escapes that are a surrogate pair.
    fn unicode(&mut self, position: Position) -> Result<char, Malformed> {
        let wrong = |text: String| Malformed { position, problem: Problem::Escape(text) };
        let first = self.four_digits(position)?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or_else(|| wrong(format!("\\u{first:04x}")));
        }
        if (self.advance(), self.advance()) != (Some('\\'), Some('u')) {
            return Err(wrong(format!("\\u{first:04x} without its second half")));
        }
        let second = self.four_digits(position)?;
        let low = second.checked_sub(0xdc00).filter(|&low| low < 0x400);
        low.and_then(|low| char::from_u32(0x10000 + ((first - 0xd800) << 10) + low))
            .ok_or_else(|| wrong(format!("\\u{first:04x}\\u{second:04x}")))
    }

    fn four_digits(&mut self, position: Position) -> Result<u32, Malformed> {
        let mut digits = String::new();
        for _ in 0..4 {
            match self.peek().filter(char::is_ascii_hexdigit) {
                Some(digit) => digits.push(digit),
                None => break,
            }
            self.advance();
        }
        match u32::from_str_radix(&digits, 16) {
            Ok(number) if digits.len() == 4 => Ok(number),
            _ => Err(Malformed { position, problem: Problem::Escape(format!("\\u{digits}")) }),
        }
    }
}

fn number(position: Position, text: String) -> Result<Token, Malformed> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let wrong = || Malformed { position, problem: Problem::Number(text.escape_debug().to_string()) };
    if !digits.starts_with(|character: char| character.is_ascii_digit()) {
        return Err(wrong());
    }
    if digits.chars().all(|character| character.is_ascii_digit()) {
        return text.parse().map(Token::Integer).map_err(|_| wrong());
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Token::Float(number)),
        _ => Err(wrong()),
    }
}
