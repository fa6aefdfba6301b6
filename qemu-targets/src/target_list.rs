//! The built-in targets: the files in `targets/`, carried in the program so that it runs anywhere.

macro_rules! targets {
    ($($name:literal),* $(,)?) => {
        /// Name and text of each target; `default` first.
        pub const TARGETS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../targets/", $name, ".toml")))),*];
    };
}

targets!(
    "default",
    "smoke",
    "thread-fairness",
    "thread-fairness-equal",
    "thread-fairness-interactive",
    "thread-fairness-interactive-equal",
    "thread-fairness-weight-change",
    "thread-fairness-weight-change-equal",
    "affinity",
    "faults",
    "fpu",
    "spread",
    "crowd",
    "shell",
    "threads",
    "first-program",
    "ipc-pairs",
    "ipc-pairs-apart",
    "ipc-pairs-long",
    "hostile",
    "hostile-random",
    "spawn",
    "ring",
    "ring-flood",
    "park",
    "park-long",
    "process-exit",
    "process-exit-storm",
    "process-exit-large",
    "siblings",
    "siblings-equal",
    "multi-process",
    "smp2-smokes",
);
