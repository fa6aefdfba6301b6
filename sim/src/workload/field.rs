//! A key and its value, with what is needed to say what is wrong with them.

use super::error::{Notice, Problem, WorkloadError};
use crate::json::{Kind, Member, Position, Value};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use tessera_hal::Duration;

/// The longest time that a file may name: 11 days, so that no sum of times ends the clock.
const MAX_MICROSECONDS: i128 = 1_000_000_000_000;

/// The keys of an object that can be there once and have been there.
#[derive(Default)]
pub(super) struct Once<'a>(HashSet<&'a str>);

impl<'a> Once<'a> {
    /// Takes a key, refused if it was there before.
    pub(super) fn take(&mut self, field: &Field<'a>) -> Result<(), WorkloadError> {
        if self.0.insert(field.key()) { Ok(()) } else { Err(field.wrong_key(Problem::Twice)) }
    }
}

/// A key and its value.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// The task that it belongs to.
    pub task: Option<&'a str>,
    pub member: &'a Member,
}

impl<'a> Field<'a> {
    pub(super) fn key(&self) -> &'a str {
        &self.member.key
    }

    /// Where the value stands, or the key if it has none.
    pub(super) fn position(&self) -> Position {
        self.member.value.as_ref().map_or(self.member.position, |value| value.position)
    }

    pub(super) fn value(&self) -> Option<&'a Value> {
        self.member.value.as_ref()
    }

    /// An error about the value.
    pub(super) fn wrong(&self, problem: Problem) -> WorkloadError {
        self.wrong_at(self.position(), problem)
    }

    /// An error about the key.
    pub(super) fn wrong_key(&self, problem: Problem) -> WorkloadError {
        self.wrong_at(self.member.position, problem)
    }

    pub(super) fn wrong_at(&self, position: Position, problem: Problem) -> WorkloadError {
        WorkloadError { position, task: self.task.map(str::to_owned), key: Some(self.key().to_owned()), problem }
    }

    /// A value of another type than `expected`.
    pub(super) fn wrong_type(&self, expected: impl Into<String>) -> WorkloadError {
        let found = self.value().map_or("no value".to_owned(), |value| value.kind.name().to_owned());
        self.wrong(Problem::Type { expected: expected.into(), found })
    }

    pub(super) fn unknown(&self, expected: impl Into<String>) -> WorkloadError {
        self.wrong_key(Problem::UnknownKey { expected: expected.into() })
    }

    /// The key `key` is not in this one's object.
    pub(super) fn missing(&self, key: &'static str, expected: &'static str) -> WorkloadError {
        self.wrong(Problem::Missing { key, expected })
    }

    pub(super) fn unsupported(&self, why: &'static str) -> WorkloadError {
        self.wrong_key(Problem::Unsupported { what: format!("\"{}\"", self.key().escape_debug()), why })
    }

    pub(super) fn notice(&self, text: &'static str) -> Notice {
        let (task, key) = (self.task.map(str::to_owned), self.key().to_owned());
        Notice { position: self.member.position, task, key, text, is_tolerated: false }
    }

    /// A key inside this one's object.
    pub(super) fn inner(&self, member: &'a Member) -> Self {
        Self { task: self.task, member }
    }

    pub(super) fn object(&self) -> Result<&'a [Member], WorkloadError> {
        match self.value().map(|value| &value.kind) {
            Some(Kind::Object(members)) => Ok(members),
            _ => Err(self.wrong_type("an object")),
        }
    }

    pub(super) fn array(&self, of: &str) -> Result<&'a [Value], WorkloadError> {
        match self.value().map(|value| &value.kind) {
            Some(Kind::Array(values)) => Ok(values),
            _ => Err(self.wrong_type(format!("an array of {of}"))),
        }
    }

    pub(super) fn string(&self) -> Result<&'a str, WorkloadError> {
        match self.value().map(|value| &value.kind) {
            Some(Kind::String(text)) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    /// A name: a string with something in it.
    pub(super) fn name(&self) -> Result<&'a str, WorkloadError> {
        match self.string()? {
            "" => Err(self.wrong(Problem::Range { expected: "a name".to_owned(), found: "\"\"".to_owned() })),
            name => Ok(name),
        }
    }

    pub(super) fn integer(&self, range: RangeInclusive<i128>) -> Result<i128, WorkloadError> {
        let expected = || format!("an integer from {} to {}", range.start(), range.end());
        match self.value().map(|value| &value.kind) {
            Some(Kind::Integer(number)) if range.contains(number) => Ok(*number),
            Some(Kind::Integer(number)) => {
                Err(self.wrong(Problem::Range { expected: expected(), found: number.to_string() }))
            }
            _ => Err(self.wrong_type(expected())),
        }
    }

    /// Microseconds of at least `least`.
    pub(super) fn microseconds(&self, least: i128) -> Result<Duration, WorkloadError> {
        self.integer(least..=MAX_MICROSECONDS).map(|number| Duration::from_micros(number as u64))
    }

    /// Nanoseconds, up to a second.
    pub(super) fn nanoseconds(&self) -> Result<Duration, WorkloadError> {
        self.integer(0..=1_000_000_000).map(|number| Duration::from_nanos(number as u64))
    }
}
