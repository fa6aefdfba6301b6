//! Printing without allocation: a line is put together on the stack and reaches the console as one write.

use crate::{Client, Console};
use core::fmt::{self, Write};

/// Bytes that one write carries.
pub const LINE_BYTES: usize = 256;

/// Collects text; writes when full and when dropped.
struct Line {
    console: Console,
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Line {
    fn flush(&mut self) {
        // A program that cannot print has nobody to tell.
        let _ = self.console.write(&self.bytes[..self.length]);
        self.length = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length == LINE_BYTES {
                self.flush();
            }
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Prints a line; what [`println!`](crate::println) stands on. Nothing happens without a console.
pub fn line(text: fmt::Arguments<'_>) {
    if let Ok(console) = Console::granted() {
        let mut line = Line { console, bytes: [0; LINE_BYTES], length: 0 };
        // `Line` never fails; a failing `Display` cuts the line.
        let _ = line.write_fmt(text);
        let _ = line.write_str("\n");
        line.flush();
    }
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::print::line(::core::format_args!($($argument)*))
    };
}
