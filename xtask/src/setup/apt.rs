//! Debian's package tool: what is configured, what is installed, what can be had.
//!
//! Parsing is pure and tested; only [`installed`], [`candidate`] and the commands of [`super`] touch the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::version::Version;
use crate::process;

/// One source of packages, as far as the set-up needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where the packages come from.
    pub uri: String,
    /// The suites taken from there, `bookworm` for example.
    pub suites: Vec<String>,
    /// The key that signs them, if the source names one.
    pub signed_by: Option<String>,
}

/// Every source that is configured under this folder (`/etc/apt` on a real machine).
pub fn configured_sources(folder: &Path) -> Vec<Source> {
    let mut files = vec![folder.join("sources.list")];
    if let Ok(entries) = fs::read_dir(folder.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(parse_one_line_style(&text)),
            Some("sources") => sources.extend(parse_deb822_style(&text)),
            _ => {}
        }
    }
    sources
}

/// The classic format: `deb [options] uri suite components`.
pub fn parse_one_line_style(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_one_line).collect()
}

fn parse_one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    let suites = vec![words.next()?.to_owned()];
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(str::to_owned);
    Some(Source { uri, suites, signed_by })
}

/// The newer format: paragraphs of `Key: value`, continued on indented lines.
pub fn parse_deb822_style(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut paragraph: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(sources_of_paragraph(&paragraph));
            paragraph.clear();
        } else if line.starts_with(char::is_whitespace) {
            if let Some((_, value)) = paragraph.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            paragraph.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn sources_of_paragraph(paragraph: &[(String, String)]) -> Vec<Source> {
    let field = |name: &str| paragraph.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let is_binary = field("types").split_whitespace().any(|kind| kind == "deb");
    if !is_binary || field("enabled").eq_ignore_ascii_case("no") {
        return Vec::new();
    }
    let suites: Vec<String> = field("suites").split_whitespace().map(str::to_owned).collect();
    // An inline key spans lines and cannot be repeated on one; a path can.
    let signed_by = Some(field("signed-by")).filter(|value| value.starts_with('/')).map(str::to_owned);
    let source = |uri: &str| Source { uri: uri.to_owned(), suites: suites.clone(), signed_by: signed_by.clone() };
    field("uris").split_whitespace().map(source).collect()
}

/// The source from which this release's main packages come.
pub fn main_source<'a>(sources: &'a [Source], codename: &str) -> Option<&'a Source> {
    sources.iter().find(|source| source.suites.iter().any(|suite| suite == codename) && source.uri.contains("debian"))
}

/// Whether the release's backports are configured already.
pub fn has_backports(sources: &[Source], codename: &str) -> bool {
    let name = format!("{codename}-backports");
    sources.iter().any(|source| source.suites.contains(&name))
}

/// The line that adds the release's backports, from the mirror that the machine uses already.
pub fn backports_line(main: &Source, codename: &str) -> String {
    let options = main.signed_by.as_ref().map_or(String::new(), |key| format!("[signed-by={key}] "));
    format!("deb {options}{} {codename}-backports main\n", main.uri)
}

/// Which release this is, from `/etc/os-release`: its identity and its code name.
pub fn release(os_release: &str) -> Option<(String, String)> {
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    Some((field("ID")?, field("VERSION_CODENAME")?))
}

/// Which of these packages are installed.
pub fn installed(packages: &[&str]) -> BTreeSet<String> {
    // dpkg-query answers for the known ones and fails for the rest, so its status says nothing.
    let output = std::process::Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Abbrev}\n"])
        .args(packages)
        .output();
    output.map(|output| parse_installed(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default()
}

fn parse_installed(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, status)| status.starts_with("ii"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The version that apt would install.
pub fn candidate(package: &str) -> Option<Version> {
    parse_candidate(&process::answer("apt-cache", &["policy", package])?)
}

fn parse_candidate(policy: &str) -> Option<Version> {
    policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:")).and_then(|word| Version::parse(word.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

    #[test]
    fn the_one_line_style_is_read_with_and_without_options() {
        let text = "# comment\ndeb http://mirror/debian bookworm main contrib\n\
                    deb-src http://mirror/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm-updates main # why\n";
        let sources = parse_one_line_style(text);
        assert_eq!(sources.len(), 2);
        assert_eq!(
            sources[0],
            Source { uri: "http://mirror/debian".into(), suites: vec!["bookworm".into()], signed_by: None }
        );
        assert_eq!(sources[1].signed_by.as_deref(), Some("/k.gpg"));
    }

    #[test]
    fn the_paragraph_style_is_read_with_comments_and_several_suites() {
        let text = format!(
            "Types: deb\n# a snapshot\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\
             Signed-By: {KEY}\n\nTypes: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\n\n\
             Enabled: no\nTypes: deb\nURIs: http://off/debian\nSuites: bookworm\n"
        );
        let sources = parse_deb822_style(&text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(sources[0].signed_by.as_deref(), Some(KEY));
        assert_eq!(main_source(&sources, "bookworm"), Some(&sources[0]));
        assert!(!has_backports(&sources, "bookworm"));
    }

    #[test]
    fn an_inline_key_is_not_repeated_as_a_path() {
        let text = "Types: deb\nURIs: http://m/debian\nSuites: bookworm\nSigned-By:\n -----BEGIN PGP\n .\n abc\n";
        assert_eq!(parse_deb822_style(text)[0].signed_by, None);
    }

    #[test]
    fn backports_come_from_the_mirror_in_use() {
        let source =
            Source { uri: "http://mirror/debian".into(), suites: vec!["bookworm".into()], signed_by: Some(KEY.into()) };
        assert_eq!(
            backports_line(&source, "bookworm"),
            format!("deb [signed-by={KEY}] http://mirror/debian bookworm-backports main\n")
        );
    }

    #[test]
    fn configured_backports_are_recognised() {
        let sources = parse_one_line_style("deb http://m/debian bookworm-backports main");
        assert!(has_backports(&sources, "bookworm"));
        assert!(!has_backports(&sources, "trixie"));
    }

    #[test]
    fn both_file_kinds_of_a_folder_are_read() {
        let folder = std::env::temp_dir().join(format!("tessera-apt-{}", std::process::id()));
        fs::create_dir_all(folder.join("sources.list.d")).unwrap();
        fs::write(folder.join("sources.list"), "deb http://a/debian bookworm main\n").unwrap();
        fs::write(folder.join("sources.list.d/b.sources"), "Types: deb\nURIs: http://b/debian\nSuites: bookworm\n")
            .unwrap();
        fs::write(folder.join("sources.list.d/c.list.save"), "deb http://c/debian bookworm main\n").unwrap();
        let uris: Vec<String> = configured_sources(&folder).into_iter().map(|source| source.uri).collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(uris, ["http://a/debian", "http://b/debian"]);
    }

    #[test]
    fn the_release_is_read() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(release(text), Some(("debian".into(), "bookworm".into())));
        assert_eq!(release("ID=arch\n"), None);
    }

    #[test]
    fn only_fully_installed_packages_count() {
        let found = parse_installed("cargo-web ii \nlld-22 rc \nrustc-web un \n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["cargo-web"]);
    }

    #[test]
    fn the_candidate_version_is_read() {
        assert_eq!(
            parse_candidate("qemu:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7\n"),
            Some(Version::new(7, 2, 0))
        );
        assert_eq!(parse_candidate("qemu:\n  Candidate: (none)\n"), None);
    }
}
