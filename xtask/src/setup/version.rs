//! Version numbers as tools print them.

use std::fmt;

/// Major, minor and patch, compared in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// A version from its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The first dotted number in a text such as `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::parse)
    }

    /// A word that begins with at least two dotted numbers; a Debian epoch before them and anything after are ignored.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.split_once(':').map_or(word, |(_, rest)| rest);
        let word = word.trim_start_matches(['v', '(']);
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let mut numbers = word[..end].split('.').map(str::parse);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_the_tools_print() {
        let cases = [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)", Version::new(10, 0, 2)),
            ("QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7+deb12u13)", Version::new(7, 2, 17)),
            ("rustc 1.96.0 (ac68faa20 2026-05-25)", Version::new(1, 96, 0)),
            ("Cap'n Proto version 0.9.2", Version::new(0, 9, 2)),
            ("QEMU emulator version 11.1", Version::new(11, 1, 0)),
        ];
        for (text, expected) in cases {
            assert_eq!(Version::find(text), Some(expected), "{text}");
        }
        assert_eq!(Version::find("no number here"), None);
    }

    #[test]
    fn a_package_version_with_an_epoch_is_read() {
        assert_eq!(Version::parse("1:10.0.2+ds-2+deb13u1~bpo12+1"), Some(Version::new(10, 0, 2)));
    }

    #[test]
    fn ten_is_newer_than_nine() {
        assert!(Version::new(10, 0, 0) > Version::new(9, 2, 4));
        assert!(Version::new(7, 2, 17) < Version::new(9, 0, 0));
    }
}
