//! The line that is being typed: bytes of a terminal in, lines and what the terminal is to show out.
//!
//! A line has printable ASCII characters alone; the terminal needs to know carriage return, `ESC [ K` (erase to the end of
//! the line) and `ESC [ n D` (left), as every terminal does.

use alloc::{collections::VecDeque, format, string::String};
use core::mem;

/// The most characters of a line.
pub const MOST_CHARACTERS: usize = 240;
/// Lines that are remembered.
const REMEMBERED: usize = 50;
const BELL: char = '\u{7}';

/// What a byte completed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A line was entered.
    Line(String),
    /// ^C: the line was given up.
    Interrupted,
    /// ^D on an empty line.
    EndOfInput,
}

/// Where in an escape sequence the input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// After ESC [ or ESC O, with the number so far.
    Parameters(u8),
}

/// Keys that escape sequences stand for, and control characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Left,
    Right,
    Home,
    End,
    Up,
    Down,
    Backspace,
    Delete,
    EraseToEnd,
    EraseToStart,
    EraseWord,
}

/// The editor of one line after the other.
#[derive(Clone, Debug)]
pub struct Editor {
    prompt: &'static str,
    line: String,
    /// Place of the cursor, in characters, which are bytes.
    cursor: usize,
    escape: Escape,
    after_carriage_return: bool,
    history: VecDeque<String>,
    /// Which remembered line is shown, counted back from the newest, and what was being typed before.
    recalled: Option<(usize, String)>,
}

impl Editor {
    /// An editor with nothing typed and nothing remembered.
    pub const fn new(prompt: &'static str) -> Self {
        Self {
            prompt,
            line: String::new(),
            cursor: 0,
            escape: Escape::None,
            after_carriage_return: false,
            history: VecDeque::new(),
            recalled: None,
        }
    }

    /// What is being typed.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Place of the cursor.
    pub const fn cursor(&self) -> usize {
        self.cursor
    }

    /// Shows prompt and line anew.
    pub fn redraw(&self, screen: &mut String) {
        screen.push('\r');
        screen.push_str(self.prompt);
        screen.push_str(&self.line);
        screen.push_str("\u{1b}[K");
        let back = self.line.len() - self.cursor;
        if back > 0 {
            screen.push_str(&format!("\u{1b}[{back}D"));
        }
    }

    /// Takes a byte. What the terminal is to show is added to `screen`.
    pub fn feed(&mut self, byte: u8, screen: &mut String) -> Option<Event> {
        let after_carriage_return = mem::take(&mut self.after_carriage_return);
        match mem::take(&mut self.escape) {
            Escape::None => {}
            Escape::Begun => {
                self.after_escape(byte);
                return None;
            }
            Escape::Parameters(number) => {
                if let Some(key) = self.after_bracket(number, byte) {
                    self.press(key, screen);
                }
                return None;
            }
        }
        match byte {
            b'\r' => {
                self.after_carriage_return = true;
                return Some(self.enter(screen));
            }
            b'\n' if after_carriage_return => {}
            b'\n' => return Some(self.enter(screen)),
            0x03 => return Some(self.interrupt(screen)),
            0x04 if self.line.is_empty() => return Some(Event::EndOfInput),
            0x1b => self.escape = Escape::Begun,
            b' '..=b'~' => self.insert(char::from(byte), screen),
            _ => {
                if let Some(key) = control(byte) {
                    self.press(key, screen);
                }
            }
        }
        None
    }

    fn after_escape(&mut self, byte: u8) {
        self.escape = match byte {
            b'[' | b'O' => Escape::Parameters(0),
            0x1b => Escape::Begun,
            _ => Escape::None,
        };
    }

    fn after_bracket(&mut self, number: u8, byte: u8) -> Option<Key> {
        match (byte, number) {
            (b'0'..=b'9', _) => {
                self.escape = Escape::Parameters(number.saturating_mul(10).saturating_add(byte - b'0'));
                None
            }
            // A second parameter, such as the state of the shift keys, replaces the first one.
            (b';', _) => {
                self.escape = Escape::Parameters(0);
                None
            }
            (b'A', _) => Some(Key::Up),
            (b'B', _) => Some(Key::Down),
            (b'C', _) => Some(Key::Right),
            (b'D', _) => Some(Key::Left),
            (b'H', _) | (b'~', 1 | 7) => Some(Key::Home),
            (b'F', _) | (b'~', 4 | 8) => Some(Key::End),
            (b'~', 3) => Some(Key::Delete),
            _ => None,
        }
    }

    fn insert(&mut self, character: char, screen: &mut String) {
        if self.line.len() >= MOST_CHARACTERS {
            screen.push(BELL);
            return;
        }
        self.line.insert(self.cursor, character);
        self.cursor += 1;
        if self.cursor == self.line.len() {
            screen.push(character);
        } else {
            self.redraw(screen);
        }
    }

    fn press(&mut self, key: Key, screen: &mut String) {
        let (cursor, length) = (self.cursor, self.line.len());
        match key {
            Key::Left => self.cursor = cursor.saturating_sub(1),
            Key::Right => self.cursor = (cursor + 1).min(length),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = length,
            Key::Up => self.recall(true),
            Key::Down => self.recall(false),
            Key::Backspace => self.erase(cursor.saturating_sub(1), cursor),
            Key::Delete => self.erase(cursor, (cursor + 1).min(length)),
            Key::EraseToEnd => self.erase(cursor, length),
            Key::EraseToStart => self.erase(0, cursor),
            Key::EraseWord => self.erase(self.word_start(), cursor),
        }
        self.redraw(screen);
    }

    fn erase(&mut self, from: usize, to: usize) {
        self.line.replace_range(from..to, "");
        self.cursor = from;
    }

    /// Where the word before the cursor begins.
    fn word_start(&self) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or_default().trim_end_matches(' ');
        before.rfind(' ').map_or(0, |space| space + 1)
    }

    /// Shows an older or a newer line; beyond the newest, what was being typed.
    fn recall(&mut self, older: bool) {
        let shown = self.recalled.as_ref().map(|(place, _)| *place);
        let wanted = match (shown, older) {
            (None, true) => Some(0),
            (None, false) => return,
            (Some(place), true) => Some(place + 1),
            (Some(place), false) => place.checked_sub(1),
        };
        match wanted {
            Some(place) => {
                let Some(line) = self.history.get(place) else { return };
                let typed = mem::replace(&mut self.line, line.clone());
                let typed = self.recalled.take().map_or(typed, |(_, typed)| typed);
                self.recalled = Some((place, typed));
            }
            None => self.line = self.recalled.take().map(|(_, typed)| typed).unwrap_or_default(),
        }
        self.cursor = self.line.len();
    }

    fn enter(&mut self, screen: &mut String) -> Event {
        screen.push('\n');
        let line = self.take();
        if !line.trim().is_empty() && self.history.front() != Some(&line) {
            self.history.truncate(REMEMBERED - 1);
            self.history.push_front(line.clone());
        }
        Event::Line(line)
    }

    fn interrupt(&mut self, screen: &mut String) -> Event {
        screen.push_str("^C\n");
        self.take();
        Event::Interrupted
    }

    fn take(&mut self) -> String {
        (self.cursor, self.recalled) = (0, None);
        mem::take(&mut self.line)
    }
}

/// The key that a control character stands for.
const fn control(byte: u8) -> Option<Key> {
    Some(match byte {
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x04 => Key::Delete,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x08 | 0x7f => Key::Backspace,
        0x0b => Key::EraseToEnd,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::EraseToStart,
        0x17 => Key::EraseWord,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
