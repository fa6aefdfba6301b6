//! Just enough reading of Rust source for the layer rules: files, code without comments, module paths.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Every Rust file of the project, in order.
pub fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Numbered lines with line comments cut off. A `//` inside a string cuts too, which cannot hide an import.
pub fn code_lines(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    text.lines().enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("").to_owned()))
}

/// The crate's top-level module that a file belongs to: `sched` for `sched.rs` and for everything under `sched/`.
pub fn top_module(file: &Path, source_folder: &str) -> Option<String> {
    let inside = file.strip_prefix(source_folder).ok()?;
    let first = inside.components().next()?.as_os_str().to_string_lossy().into_owned();
    Some(first.strip_suffix(".rs").unwrap_or(&first).to_owned())
}

/// Whether the code names a top-level module of its crate: `crate::NAME` or NAME as a branch of `crate::{...}`.
pub fn names_module(code: &str, module: &str) -> bool {
    code.match_indices("crate::").any(|(index, prefix)| {
        let path = &code[index + prefix.len()..];
        match path.strip_prefix('{') {
            None => begins_with_word(path, module),
            Some(group) => {
                top_level_branches(group).into_iter().any(|branch| begins_with_word(branch.trim_start(), module))
            }
        }
    })
}

fn begins_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The branches of a `{...}` group, given the text after its opening brace.
fn top_level_branches(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut branches) = (0_usize, 0, Vec::new());
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                branches.push(&group[start..index]);
                return branches;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&group[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    branches.push(&group[start..]);
    branches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_in_paths_and_groups_but_not_by_likeness() {
        assert!(names_module("use crate::ring::consume;", "ring"));
        assert!(names_module("use crate::{sync::{Lock, Level}, ring};", "ring"));
        assert!(names_module("pub(crate) use crate::cap;", "cap"));
        assert!(!names_module("use crate::capacity::Limit;", "cap"));
        assert!(!names_module("use crate::{sync::{ring}};", "ring"));
        assert!(!names_module("let ring = 3;", "ring"));
    }

    #[test]
    fn the_top_module_is_the_first_part_of_the_path() {
        assert_eq!(top_module(Path::new("kernel-core/src/sched/pick.rs"), "kernel-core/src").as_deref(), Some("sched"));
        assert_eq!(top_module(Path::new("kernel-core/src/lease.rs"), "kernel-core/src").as_deref(), Some("lease"));
        assert_eq!(top_module(Path::new("hal/src/time.rs"), "kernel-core/src"), None);
    }
}
