//! A lenient JSON reader that keeps positions.
//!
//! It takes what rt-app's own files contain: `//` and `/* */` comments, trailing commas, keys that occur twice (both
//! are kept, in order) and keys without a value (`"suspend",`). Every value knows its line and column, counted from 1
//! in characters, so that what is wrong with it can be said where it stands. No input makes the reader panic; nesting
//! is bounded.

mod lexer;
mod reader;

use std::fmt;

pub use reader::read;

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 64;

/// A place in a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The character of the line, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    /// Where it begins.
    pub position: Position,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number without fraction and exponent.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A string, its escapes resolved.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object; keys in the order of the file, the same key maybe more than once.
    Object(Vec<Member>),
}

impl Kind {
    /// What it is called in a message.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// A key of an object and its value.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    /// Where the key begins.
    pub position: Position,
    /// The key.
    pub key: String,
    /// Its value, unless it has none.
    pub value: Option<Value>,
}

/// Why a text is no JSON, not even leniently.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct SyntaxError {
    /// Where.
    pub position: Position,
    /// The keys whose values it is in, outermost first.
    pub within: Vec<String>,
    /// What.
    pub problem: Problem,
}

impl SyntaxError {
    /// The same, in the value of `key`.
    fn within(mut self, key: &str) -> Self {
        self.within.insert(0, key.to_owned());
        self
    }
}

/// What is wrong with a text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Something else stands here than may.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What may stand here.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A string does not end on its line.
    #[error("this string has no end on its line; expected a closing \"")]
    OpenString,
    /// A comment does not end.
    #[error("this comment has no end; expected */")]
    OpenComment,
    /// An escape that JSON does not have.
    #[error("{0} is no escape; expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX")]
    Escape(String),
    /// A number that is none.
    #[error("{0} is no number that can be held; expected an integer of up to 38 digits or a decimal below 1e308")]
    Number(String),
    /// Arrays and objects nest too deep.
    #[error("nested too deep; expected at most {MAX_DEPTH} arrays and objects in each other")]
    TooDeep,
}
