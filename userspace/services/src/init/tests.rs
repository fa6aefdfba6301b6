//! What init makes of manifests.

use super::*;
use alloc::{collections::BTreeMap, string::ToString};
use tessera_schema::build::{ManifestSource, build, parse};

fn built(text: &str) -> Vec<u8> {
    let source = parse::<ManifestSource>("test.toml", text).unwrap();
    let files = ["init", "server", "client"].map(|name| (name.to_string(), Vec::from([1, 2, 3])));
    build(&source, 4, &BTreeMap::from(files)).unwrap()
}

const SERVICES: &str = r#"
[[endpoint]]
name = "sums"
interface = 77
[[program]]
name = "server"
grants = ["timer"]
serves = ["sums"]
[[program]]
name = "client"
arguments = "a b"
weight = 128
class = "batch"
affinity = "0,2"
request-us = 500
frames = 1000
threads = 3
capabilities = 40
grants = [
    "console",
    { name = "clock", kernel = "timer" },
    { name = "sums", client-of = "sums", badge = 7 },
    { name = "process-spawner", most-processes = 8 },
]
"#;

#[test]
fn what_init_holds_is_what_it_can_give() {
    let bytes = built(SERVICES);
    let manifest = Manifest::read(&bytes).unwrap();
    assert_eq!(check(&manifest, |_| true), Ok(()));
    for (missing, text) in [
        (Capability::Timer, "server: grant timer: init does not hold timer"),
        (Capability::EndpointFactory, "server: grant sums: init does not hold endpoint-factory"),
        (Capability::Console, "client: grant console: init does not hold console"),
        (Capability::ProcessSpawner, "client: grant process-spawner: init does not hold process-spawner"),
    ] {
        let refused = check(&manifest, |capability| capability != missing).unwrap_err();
        assert_eq!(refused.to_string(), text);
    }
    assert_eq!(check(&manifest, |capability| capability != Capability::Terminal), Ok(()));
}

#[test]
fn an_instance_is_asked_for_as_the_manifest_says() {
    let bytes = built(SERVICES);
    let manifest = Manifest::read(&bytes).unwrap();
    let [_, client] = manifest.programs() else { panic!("{:?}", manifest.programs()) };
    let names = grant_names(client);
    assert_eq!(names, "console clock sums process-spawner");
    let params = spawn_params(client, &names, 3);
    let expected = SpawnParams {
        binary: "client",
        name: "client",
        arguments: "a b",
        grant_names: &names,
        affinity: U64List::new(&[0b101, 0, 0, 0, 0, 0, 0, 0]),
        instance: 3,
        weight: 128,
        class: 2,
        request_ns: 500_000,
        frames: 1000,
        threads: 3,
        capabilities: 40,
        silent: 0,
    };
    assert_eq!(params, expected);
}

#[test]
fn an_exit_with_another_code_than_zero_is_a_bad_end_and_a_fault_is_for_others_to_judge() {
    let ending = |kind, code, fault| End::from(ProcessEnding { kind, code, fault });
    for (end, text, good) in [
        (ending(0, 0, ""), "exited with code 0", true),
        (ending(0, u32::MAX, ""), "exited with code -1", false),
        (ending(1, 0, "a page fault"), "was ended by a fault: a page fault", true),
        (ending(2, 0, ""), "was killed", true),
        (ending(9, 0, ""), "ended in an unknown way (9)", false),
    ] {
        assert_eq!((end.to_string().as_str(), end.is_good()), (text, good));
    }
}
