//! The command as a person uses it: exit status, messages, files.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A folder of its own for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tessera-sim-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).expect("a file");
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("a file that was written")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

const WORKLOAD: &str = r#"{"global": {"duration": 0.2, "gnuplot": true, "tessera": {"cpus": 2}},
    "tasks": {"hog": {"instance": 3, "run": 1000}, "sleeper": {"run": 100, "sleep": 900}}}"#;

#[test]
fn a_run_writes_what_it_is_asked_for_and_exits_with_zero() {
    let folder = Folder::new("run");
    let file = folder.file("w.json", WORKLOAD);
    let (svg, trace, json) = (folder.path("a.svg"), folder.path("a.trace"), folder.path("a.json"));
    let options = ["run", &file, "--policy", "wfq", "--check", "-v", "--svg", &svg, "--trace", &trace, "--json", &json];
    let output = sim(&options);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert!(table.contains("hog-2") && table.contains("0 violations"), "{table}");
    assert!(said.contains("key \"gnuplot\": has no effect") && said.contains("scheduling events"), "{said}");
    let report: serde_json::Value = serde_json::from_str(&folder.read("a.json")).expect("JSON");
    assert_eq!(
        (&report["version"], &report["policy"], &report["duration_ns"]),
        (&1.into(), &"wfq".into(), &200_000_000.into())
    );
    assert!(folder.read("a.svg").starts_with("<svg") && folder.read("a.trace").contains("traceEvents"));
}

#[test]
fn options_override_the_file_and_the_same_seed_gives_the_same_bytes() {
    let folder = Folder::new("options");
    let file = folder.file("w.json", WORKLOAD);
    let run = || sim(&["run", &file, "--cpus", "3", "--duration", "50ms", "--seed", "9", "--json", "-"]);
    let (first, second) = (run(), run());
    assert_eq!(first.stdout, second.stdout);
    let report: serde_json::Value = serde_json::from_slice(&first.stdout).expect("nothing but JSON");
    assert_eq!((&report["cpus"], &report["seed"], &report["duration_ns"]), (&3.into(), &9.into(), &50_000_000.into()));
}

#[test]
fn bad_input_exits_with_two_and_says_where() {
    let folder = Folder::new("bad");
    let file = folder.file("w.json", "{\"tasks\": {\"t\": {\n  \"rum\": 1}}}");
    let fault = folder.file("f.json", r#"{"tasks": {"t": {"loop": 1, "unlock": "x"}}}"#);
    let cases = [
        (vec!["run", &file], format!("{file}:2:3: task \"t\", key \"rum\": unknown key; expected ")),
        (vec!["run", &fault], format!("{fault}:1:29: task \"t\", key \"unlock\", after 0 ns: gives back the mutex")),
        (vec!["run", "/nonexistent.json"], "cannot read /nonexistent.json".to_owned()),
        (vec!["run", &file, "--policy", "fifo"], "expected wfq or eevdf".to_owned()),
        (vec!["run", &file, "--seed", "x"], "expected a number from 0 to 18446744073709551615".to_owned()),
        (
            vec!["run", &file, "--seed", "18446744073709551616"],
            "expected a number from 0 to 18446744073709551615".to_owned(),
        ),
        (vec!["run", &file, "--cpus", "4097"], "expected a number from 1 to 4096".to_owned()),
        (vec!["run", &file, "--duration", "10"], "expected a time".to_owned()),
        (vec!["compare", &file, &file], "expected a result of `sim run --json`".to_owned()),
    ];
    for (arguments, message) in cases {
        let output = sim(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(&message), "{arguments:?}: {said}");
    }
}

/// A run that would take hours.
const LONG: &str = r#"{"global": {"duration": 1000000, "tessera": {"cpus": 64}},
    "tasks": {"t": {"instance": 1000, "run": 100, "sleep": 100}}}"#;

#[test]
fn an_output_that_cannot_be_written_is_refused_before_anything_is_run() {
    let folder = Folder::new("outputs");
    let file = folder.file("long.json", LONG);
    let (old, new) = (folder.file("old", "what was there"), folder.path("new"));
    let nowhere = folder.path("nowhere/a");
    for option in ["--json", "--svg", "--trace"] {
        let others = ["--json", "--svg", "--trace"].into_iter().filter(|&other| other != option);
        let mut arguments = vec!["run", &file, option, &nowhere];
        others.zip([&old, &new]).for_each(|(other, path)| arguments.extend([other, path]));
        let output = sim(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("{option} cannot write {nowhere}: ")), "{said}");
    }
    for arguments in [["--csv", &nowhere, "--svg", &old], ["--csv", &old, "--svg", &nowhere]] {
        let output = sim(&[&["sweep", &file], &arguments[..]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!(" cannot write {nowhere}: ")), "{said}");
    }
    let same = sim(&["run", &file, "--svg", &new, "--trace", &new]);
    let said = text(&same.stderr);
    assert!(same.status.code() == Some(2) && said.contains("--svg and --trace name the same file"), "{said}");
    assert_eq!(
        (folder.read("old").as_str(), fs::exists(&new).expect("it can be looked for")),
        ("what was there", false)
    );
}

#[test]
fn a_run_that_fails_leaves_older_outputs_as_they_are() {
    let folder = Folder::new("older");
    let fault = folder.file("f.json", r#"{"tasks": {"t": {"loop": 1, "unlock": "x"}}}"#);
    let (old, new) = (folder.file("old", "what was there"), folder.path("new"));
    let output = sim(&["run", &fault, "--json", &old, "--svg", &new]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(
        (folder.read("old").as_str(), fs::exists(&new).expect("it can be looked for")),
        ("what was there", false)
    );
}

#[test]
fn what_is_accepted_without_effect_is_said_in_one_line_each_and_unknown_global_keys_on_demand() {
    let folder = Folder::new("notices");
    let file = folder.file(
        "w.json",
        "{\"global\": {\"duration\": 0.01, \"gnuplot\": true}, \"tasks\": {\"t\": {\"instance\": 3,\n\"util_min\": 5,\n\
         \"nodes_membind\": [0],\n\"taskgroup\": \"/a\",\n\"mem\": 30,\n\"run\": 100}}}",
    );
    let csv = folder.path("a.csv");
    let lines = [
        format!("{file}:2:1: task \"t\", key \"util_min\": has no effect: the CPUs have no frequencies"),
        format!("{file}:3:1: task \"t\", key \"nodes_membind\": has no effect: there is no memory"),
        format!("{file}:4:1: task \"t\", key \"taskgroup\": is a label; it is not scheduled by"),
        format!("{file}:5:1: task \"t\", key \"mem\": is left out: there is no memory and no device"),
    ];
    for arguments in [vec!["run", &file], vec!["sweep", &file, "--cpus", "1,2", "--csv", &csv]] {
        let output = sim(&[&arguments[..], &["--ignore-unsupported"]].concat());
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stderr).lines().collect::<Vec<_>>(), lines);
    }
    let said = text(&sim(&["run", &file, "--ignore-unsupported", "-v"]).stderr);
    assert!(said.contains("key \"gnuplot\": has no effect") && said.contains(&lines[3]), "{said}");
}

#[test]
fn two_results_are_compared_task_by_task() {
    let folder = Folder::new("compare");
    let file = folder.file("w.json", WORKLOAD);
    let (a, b) = (folder.path("a.json"), folder.path("b.json"));
    assert!(sim(&["run", &file, "--json", &a]).status.success());
    assert!(sim(&["run", &file, "--policy", "eevdf", "--cpus", "1", "--json", &b]).status.success());
    let table = text(&sim(&["compare", &a, &b]).stdout);
    assert!(
        table.contains("A: wfq, 2 CPUs") && table.contains("B: eevdf, 1 CPU") && table.contains("sleeper"),
        "{table}"
    );
    let output = sim(&["compare", &a, &b, "--json"]);
    let comparison: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let share = &comparison["tasks"][0]["share"];
    let number = |key: &str| share[key].as_f64().expect("a number");
    assert!((number("b") - number("a") - number("difference")).abs() < 1e-12);
}

#[test]
fn a_sweep_has_a_line_per_run_and_task() {
    let folder = Folder::new("sweep");
    let file = folder.file("w.json", WORKLOAD);
    let (csv, svg) = (folder.path("a.csv"), folder.path("a.svg"));
    let output = sim(&[
        "sweep",
        &file,
        "--policies",
        "wfq,eevdf",
        "--cpus",
        "1,2",
        "--seeds",
        "1..3",
        "--csv",
        &csv,
        "--svg",
        &svg,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = folder.read("a.csv");
    assert_eq!(lines.lines().count(), 1 + 2 * 2 * 3 * 4, "{lines}");
    assert!(lines.starts_with("policy,cpus,seed,task,") && folder.read("a.svg").starts_with("<svg"));
}

#[test]
fn an_output_that_nobody_reads_to_its_end_is_no_error() {
    let folder = Folder::new("closed");
    let file =
        folder.file("many.json", r#"{"global": {"duration": 0.01}, "tasks": {"t": {"instance": 3000, "run": 1000}}}"#);
    let mut child = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["run", &file, "--json", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
