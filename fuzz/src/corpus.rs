//! [`corpus`]: the inputs of a folder.

use std::fs;
use std::path::Path;

/// The most bytes of an entry: what is larger is damaged where it does not matter most of the time.
const MOST_BYTES: usize = 4096;

/// One input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The file's name.
    pub name: String,
    /// What it says: the bytes of a `*.hex` file's digits, of another file its own.
    pub bytes: Vec<u8>,
}

/// The files of a folder, by name.
///
/// # Panics
/// If the folder has none, or one that cannot be read or that is too large.
pub fn corpus(folder: impl AsRef<Path>) -> Vec<Entry> {
    let folder = folder.as_ref();
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a file of the folder").path()).collect();
    assert!(!paths.is_empty(), "{} has no files", folder.display());
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Entry {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let bytes = if path.extension().is_some_and(|extension| extension == "hex") {
        let bytes = str::from_utf8(&bytes).ok().and_then(from_hex);
        bytes.unwrap_or_else(|| panic!("{}: expected pairs of hex digits", path.display()))
    } else {
        bytes
    };
    assert!(bytes.len() <= MOST_BYTES, "{}: {} bytes, at most {MOST_BYTES}", path.display(), bytes.len());
    Entry { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes }
}

/// The bytes of words of hex digits. `00*24` is a word 24 times; `#` begins a comment. `None`: it says something else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let code = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut bytes = Vec::new();
    for word in code.flat_map(str::split_whitespace) {
        let (digits, times) =
            word.split_once('*').map_or(Some((word, 1)), |(digits, times)| Some((digits, times.parse().ok()?)))?;
        bytes.extend(pairs(digits)?.repeat(times));
    }
    Some(bytes)
}

fn pairs(digits: &str) -> Option<Vec<u8>> {
    let is_pairs = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let pair = |start| u8::from_str_radix(&digits[start..start + 2], 16).ok();
    if is_pairs { (0..digits.len()).step_by(2).map(pair).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_digits_are_read_with_comments_and_repetition() {
        let text = "7f454c46 # magic\n\n00*3 0aFF*2\n# nothing 12";
        assert_eq!(from_hex(text), Some(vec![0x7f, 0x45, 0x4c, 0x46, 0, 0, 0, 0x0a, 0xff, 0x0a, 0xff]));
        assert_eq!(from_hex(""), Some(vec![]));
        for bad in ["0", "0g", "+1", "00*", "00*x", "*2 x", "é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
