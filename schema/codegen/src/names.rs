//! Names and comments in Rust's manner.

/// `setTlsBase` as `set_tls_base`.
pub fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(character.to_lowercase());
    }
    text
}

/// `setTlsBase` as `SET_TLS_BASE`.
pub fn constant_case(name: &str) -> String {
    snake_case(name).to_uppercase()
}

/// `setTlsBase` as `SetTlsBase`.
pub fn upper_camel_case(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// A field's name in Rust.
pub fn field_name(name: &str) -> String {
    match snake_case(name).as_str() {
        keyword @ ("type" | "move" | "ref" | "match" | "in" | "loop" | "use") => format!("r#{keyword}"),
        plain => plain.to_string(),
    }
}

/// A number as `0x0123_4567_89ab_cdef`.
pub fn grouped_hex(value: u64) -> String {
    let digits = format!("{value:016x}");
    format!("0x{}", [&digits[0..4], &digits[4..8], &digits[8..12], &digits[12..16]].join("_"))
}

/// `use module::{a, b};` in lines of at most 120 columns.
pub fn imports(module: &str, items: &[&str]) -> String {
    let mut lines = vec![String::from("   ")];
    for item in items {
        if lines.last().is_some_and(|line| line.len() + item.len() + 2 > 120) {
            lines.push(String::from("   "));
        }
        if let Some(line) = lines.last_mut() {
            *line += &format!(" {item},");
        }
    }
    format!("use {module}::{{\n{}\n}};\n", lines.join("\n"))
}

/// A documentation comment, broken into lines of at most 120 columns.
pub fn documentation(indent: usize, text: &str) -> String {
    let start = format!("{}///", " ".repeat(indent));
    let mut lines = vec![start.clone()];
    for word in text.split_whitespace() {
        let fits = lines.last().is_some_and(|line| line.len() + 1 + word.len() <= 120);
        if !fits {
            lines.push(start.clone());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rusts_conventions() {
        assert_eq!(snake_case("SchedulingPolicyCap"), "scheduling_policy_cap");
        assert_eq!(constant_case("setTlsBase"), "SET_TLS_BASE");
        assert_eq!(upper_camel_case("setTlsBase"), "SetTlsBase");
        assert_eq!(field_name("type"), "r#type");
        assert_eq!(field_name("nowNs"), "now_ns");
        assert_eq!(grouped_hex(0xf0b2_5d1c_9a7e_6001), "0xf0b2_5d1c_9a7e_6001");
    }

    #[test]
    fn long_comments_are_broken_and_lose_nothing() {
        let text = "word ".repeat(60);
        let comment = documentation(4, &text);
        assert!(comment.lines().all(|line| line.len() <= 120 && line.starts_with("    /// word")));
        assert_eq!(comment.matches("word").count(), 60);
    }
}
