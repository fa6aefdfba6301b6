//! Any bytes as a workload: it is read, or refused in words that say where.

use proptest::prelude::*;
use sim::workload::{Options, read};
use std::sync::LazyLock;
use tessera_fuzz::{Bytes, Entry, any_bytes, config, corpus};

/// Every file of the corpus and of the workloads.
static CORPUS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let folders = ["tests/corpus", "workloads"];
    folders.iter().flat_map(|folder| corpus(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR")))).collect()
});

/// Bytes that look like a workload more often than random ones do.
fn scraps() -> impl Strategy<Value = Bytes> {
    const WORDS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "//",
        "/*",
        "*/",
        "\\u12",
        "-1",
        "0",
        "1e9",
        "99999999999999999999",
        "true",
        "null",
        "\"global\"",
        "\"tasks\"",
        "\"t\"",
        "\"phases\"",
        "\"run\"",
        "\"sleep\"",
        "\"timer\"",
        "\"lock\"",
        "\"suspend\"",
        "\"loop\"",
        "\"cpus\"",
        "\"tessera\"",
        "\"weight\"",
        "\"changes\"",
        "\"duration\"",
        "\"fork\"",
        " ",
        "\n",
    ];
    let word = prop_oneof![
        4 => prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| Bytes(words.concat()))
}

fn answers_well(bytes: &[u8]) {
    let lines = bytes.split(|&byte| byte == b'\n').count() as u32;
    match read(bytes, &Options::default()) {
        Ok(workload) => {
            assert!(!workload.tasks.is_empty());
            assert!(workload.notices.iter().all(|notice| (1..=lines).contains(&notice.position.line)));
        }
        Err(error) => {
            let text = error.to_string();
            let problem = text.strip_prefix(&format!("{}: ", error.position));
            assert!(problem.is_some_and(|problem| !problem.is_empty()), "{text}");
            assert!((1..=lines).contains(&error.position.line) && error.position.column > 0, "{text}");
        }
    }
}

#[test]
fn the_corpus_is_read_or_refused() {
    assert!(CORPUS.len() > 15, "{} files", CORPUS.len());
    CORPUS.iter().for_each(|entry| answers_well(&entry.bytes));
}

proptest! {
    #![proptest_config(config(6_000))]

    #[test]
    fn any_bytes_are_a_workload_or_are_refused_with_a_place(
        bytes in prop_oneof![1 => scraps(), 2 => any_bytes(&CORPUS, 200)],
    ) {
        answers_well(&bytes);
    }
}
