//! Where a source was read from, so that whatever is found wrong later still names file, line and key.

use serde::de::DeserializeOwned;
use std::{fmt, ops::Range};

/// The file that a source was read from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    file: String,
    text: String,
}

/// Why a source cannot be understood: file, line, and the finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong; names the key.
    pub message: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

impl std::error::Error for SourceError {}

/// What can be read from TOML.
pub trait Source: DeserializeOwned {
    /// Checks what its parts mean to each other, and keeps the origin for what is found later.
    fn check(&mut self, origin: &Origin) -> Result<(), SourceError>;
}

/// Reads TOML; an error names the file, the line and, where there is one, the key.
pub fn parse<T: Source>(file: &str, text: &str) -> Result<T, SourceError> {
    let origin = Origin { file: file.into(), text: text.into() };
    let parsed = toml::from_str(text);
    let mut source: T =
        parsed.map_err(|error| origin.error(error.span().unwrap_or(0..0), &error.message().to_string()))?;
    source.check(&origin)?;
    Ok(source)
}

impl Origin {
    /// An error at this part of the text, with its key.
    pub fn error(&self, place: Range<usize>, finding: &dyn fmt::Display) -> SourceError {
        let key = key_at(&self.text, place.start).map(|key| format!("{key}: ")).unwrap_or_default();
        self.error_without_key(place.start, &format_args!("{key}{finding}"))
    }

    /// An error at this place of the text.
    pub(super) fn error_without_key(&self, place: usize, finding: &dyn fmt::Display) -> SourceError {
        let line = self.text.get(..place).unwrap_or(&self.text).matches('\n').count() + 1;
        SourceError { file: self.file.clone(), line, message: finding.to_string() }
    }
}

/// The key whose value holds the place: the innermost one, inline tables and arrays of several lines included.
fn key_at(text: &str, place: usize) -> Option<&str> {
    let (mut outer, mut key, mut word) = (Vec::new(), None, 0);
    let mut characters = text.get(..place)?.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' | '\'' => skip_string(&mut characters, character),
            '#' | '\n' => {
                if character == '#' {
                    characters.find(|(_, character)| *character == '\n');
                }
                if outer.is_empty() {
                    key = None;
                }
            }
            '=' => key = text.get(word..at).map(str::trim),
            '[' | '{' => outer.push(key.take()),
            ']' | '}' => key = outer.pop().flatten(),
            ',' => key = None,
            _ => continue,
        }
        word = characters.offset();
    }
    key.or_else(|| outer.into_iter().rev().flatten().next())
}

fn skip_string(characters: &mut std::str::CharIndices<'_>, quote: char) {
    while let Some((_, character)) = characters.next() {
        if character == quote {
            return;
        }
        if character == '\\' && quote == '"' {
            characters.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::key_at;

    #[test]
    fn the_innermost_key_is_found_on_one_line_and_on_several() {
        let text =
            "[a]\nx = 1 # y = 2\ngrants = [\n  \"b=c\",\n  { name = \"n\", of = \"o\" },\n  \"d\",\n]\nz = '='\n";
        let at = |part: &str| key_at(text, text.find(part).unwrap());
        assert_eq!(at("1 #"), Some("x"));
        assert_eq!(at("grants"), None);
        assert_eq!(at("\"b=c"), Some("grants"));
        assert_eq!(at("\"n\""), Some("name"));
        assert_eq!(at("of ="), Some("grants"));
        assert_eq!(at("\"o\""), Some("of"));
        assert_eq!(at("\"d\""), Some("grants"));
        assert_eq!(at("z ="), None);
        assert_eq!(at("'='"), Some("z"));
    }
}
