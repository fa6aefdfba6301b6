//! A line being written: a fixed buffer that says when something did not fit, and JSON on top of it.

use core::fmt::{self, Write};

/// Bytes of the longest line: a thread's record with the longest CPU set that there is.
pub const LINE_BYTES: usize = 3072;

/// A line of text in a fixed buffer. What does not fit is left out and [`Line::is_truncated`] says so.
pub struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
    truncated: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// An empty line.
    pub const fn new() -> Self {
        Self { bytes: [0; LINE_BYTES], length: 0, truncated: false }
    }

    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether something did not fit.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Adds one byte; answers whether it fitted. The last byte is kept for a newline.
    pub fn push(&mut self, byte: u8) -> bool {
        let limit = if byte == b'\n' { LINE_BYTES } else { LINE_BYTES - 1 };
        let fits = self.length < limit;
        if fits {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        self.truncated |= !fits;
        fits
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.length = 0;
        self.truncated = false;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| {
            self.push(byte);
        });
        Ok(())
    }
}

/// Writes one JSON object, member by member.
pub struct JsonObject<'a> {
    out: &'a mut dyn Write,
}

/// Escapes what a JSON string may not hold.
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '"' | '\\' => write!(self.0, "\\{character}"),
            control if control < ' ' => write!(self.0, "\\u{:04x}", u32::from(control)),
            other => self.0.write_char(other),
        })
    }
}

impl<'a> JsonObject<'a> {
    /// Opens a record of this kind: `{"tessera":"kind"`.
    pub fn record(out: &'a mut dyn Write, kind: &str) -> Result<Self, fmt::Error> {
        write!(out, "{{\"tessera\":\"{kind}\"")?;
        Ok(Self { out })
    }

    /// A number or truth value.
    pub fn value(&mut self, name: &str, value: impl fmt::Display) -> fmt::Result {
        write!(self.out, ",\"{name}\":{value}")
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: impl fmt::Display) -> fmt::Result {
        write!(self.out, ",\"{name}\":\"")?;
        write!(Escaped(self.out), "{value}")?;
        self.out.write_char('"')
    }

    /// Closes the object and the line.
    pub fn end(self) -> fmt::Result {
        self.out.write_str("}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json_whatever_the_text_holds() {
        let mut line = Line::new();
        let mut record = JsonObject::record(&mut line, "exit").unwrap();
        record.value("code", 3).unwrap();
        record.text("name", "a\"b\\c\nd").unwrap();
        record.end().unwrap();
        let expected = b"{\"tessera\":\"exit\",\"code\":3,\"name\":\"a\\\"b\\\\c\\u000ad\"}\n";
        assert_eq!(line.as_bytes(), expected);
    }

    #[test]
    fn the_longest_cpu_set_leaves_room_for_the_rest_of_a_record() {
        // Two CPUs in, one out, over and over, is the longest text.
        let cpus: hal::CpuSet = (0..512).filter(|cpu| cpu % 3 != 2).map(hal::CpuId::new).collect();
        let mut line = Line::new();
        write!(line, "{cpus}").unwrap();
        let others = 25 * ("longest_charge_ns".len() + ",\"\":".len() + "18446744073709551615".len());
        assert!(line.as_bytes().len() + others < LINE_BYTES, "{} bytes", line.as_bytes().len());
    }

    #[test]
    fn a_line_that_is_too_long_says_so_and_keeps_room_for_its_newline() {
        let mut line = Line::new();
        for _ in 0..LINE_BYTES {
            line.push(b'x');
        }
        assert!(line.is_truncated() && line.push(b'\n'));
        assert_eq!((line.as_bytes().len(), line.as_bytes().last()), (LINE_BYTES, Some(&b'\n')));
    }
}
