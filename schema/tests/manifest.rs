//! Good manifests arrive as they were written; bad ones give one error that says where.

mod capnp_tool;
mod manifest_source;

use capnp_tool::capnp;
use manifest_source::{GOOD, binaries, built};
use std::{collections::BTreeMap, num::NonZeroU32};
use tessera_abi::scheduling::LatencyClass;
use tessera_schema::{
    build::{ManifestSource, SourceError, build, parse},
    generated::{interfaces, manifest_capnp as wire},
    manifest::{Capability, Endpoint, Grant, Limits, Manifest, Policy, Source},
};

#[test]
fn what_was_written_is_read() {
    let bytes = built(GOOD);
    let manifest = Manifest::read(&bytes).unwrap();
    assert_eq!(manifest.policy(), Policy::Eevdf);
    assert_eq!(manifest.seconds().map(|seconds| seconds.get()), Some(5));
    assert_eq!(manifest.base_request_us(), 2000);
    assert_eq!(manifest.cpus(), None);
    let [heavy, hog, calculator] = manifest.programs() else { panic!("three programs") };
    assert_eq!((heavy.name, heavy.binary, heavy.elf, heavy.arguments), ("heavy", "hog", &[1, 2, 3][..], "a b"));
    assert_eq!((heavy.weight, heavy.class, heavy.request_ns), (128, LatencyClass::Interactive, Some(500_000)));
    assert_eq!(heavy.affinity, Some([8, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(heavy.limits, Limits { frames: NonZeroU32::new(1000), threads: NonZeroU32::new(4), capabilities: None });
    assert_eq!((hog.weight, hog.class, hog.request_ns, hog.count), (64, LatencyClass::Normal, None, 6));
    assert_eq!(hog.affinity, Some([0b1101, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(hog.limits, Limits::default());
    assert_eq!(calculator.limits.capabilities, NonZeroU32::new(32));
    assert_eq!(manifest.binaries().collect::<Vec<_>>(), [("hog", &[1, 2, 3][..]), ("init", &[6, 7]), ("tool", &[5])]);
}

#[test]
fn grants_keep_their_names_their_order_and_their_sources() {
    let bytes = built(GOOD);
    let manifest = Manifest::read(&bytes).unwrap();
    let [heavy, hog, calculator] = manifest.programs() else { panic!("three programs") };
    let grant = |name, source| Grant { name, source };
    let eight = NonZeroU32::new(8).unwrap();
    assert_eq!(
        heavy.grants,
        [
            grant("console", Source::Kernel(Capability::Console)),
            grant("process-spawner", Source::Spawner { most_processes: eight }),
            grant("clock", Source::Kernel(Capability::Timer)),
            grant("sums", Source::Client { endpoint: 0, badge: 7 }),
            grant("log", Source::Server { endpoint: 1 }),
        ]
    );
    let usual = [Capability::Console, Capability::Timer, Capability::SchedulingPolicy];
    assert_eq!(hog.grants, usual.map(|capability| grant(capability.name(), Source::Kernel(capability))));
    assert_eq!(
        calculator.grants,
        [grant("console", Source::Client { endpoint: 1, badge: 0 }), grant("calc", Source::Server { endpoint: 0 })]
    );
    assert_eq!(
        manifest.endpoints(),
        [
            Endpoint { name: "calc", interface: 0xf123_4567_89ab_cdef, server: 2 },
            Endpoint { name: "log", interface: interfaces::console::ID, server: 0 },
        ]
    );
}

#[test]
fn the_reference_tool_decodes_a_manifest_and_encodes_one_that_says_the_same() {
    let built = built(GOOD);
    let text = capnp("decode", "manifest.capnp", "Manifest", built.clone());
    let shown = String::from_utf8_lossy(&text);
    assert!(shown.contains("source = (clientOf = \"calc\")") && shown.contains("mostProcesses = 8"), "{shown}");
    let encoded = capnp("encode", "manifest.capnp", "Manifest", text);
    assert_eq!(Manifest::read(&encoded).unwrap(), Manifest::read(&built).unwrap());
}

#[test]
fn init_is_what_the_manifest_names_and_travels_along() {
    let files = |bytes: &[u8]| {
        let manifest = Manifest::read(bytes).unwrap();
        (manifest.init().to_string(), manifest.binaries().map(|(name, _)| name.to_string()).collect::<Vec<_>>())
    };
    let program = "[[program]]\nname='hog'";
    let all = ["hog", "init"].map(String::from).to_vec();
    assert_eq!(files(&built(program)), ("init".into(), all));
    assert_eq!(
        files(&built(&format!("init='tool'\n{program}"))),
        ("tool".into(), ["hog", "tool"].map(String::from).to_vec())
    );
    let source: ManifestSource = parse("t.toml", program).unwrap();
    let error = build(&source, 1, &BTreeMap::from([("hog".into(), vec![1])])).unwrap_err();
    assert_eq!(error.to_string(), "t.toml:1: there is no program file init");
    assert_eq!(changed(|mut r| r.set_init("a b")), "init: only letters, digits, '-', '_' and '.' are allowed");
}

#[test]
fn roles_resolve_on_a_single_cpu() {
    let source: ManifestSource =
        parse("t", "[[program]]\nname='hog'\naffinity='others'\ncount='3*others'\n[[program]]\nname='b'\nbinary='hog'\naffinity='last'").unwrap();
    let bytes = build(&source, 1, &binaries()).unwrap();
    let manifest = Manifest::read(&bytes).unwrap();
    assert_eq!(manifest.programs()[0].count, 3);
    assert!(manifest.programs().iter().all(|program| program.affinity == Some([1, 0, 0, 0, 0, 0, 0, 0])));
}

fn refusal(text: &str) -> String {
    parse::<ManifestSource>("bad.toml", text).unwrap_err().to_string()
}

#[test]
fn bad_sources_name_file_line_and_key() {
    let head = "[[program]]\nname = \"x\"\n";
    assert_eq!(refusal(&format!("{head}weight = 0\n")), "bad.toml:3: weight: 0 is not in 1..=10000");
    assert_eq!(refusal(&format!("{head}weight = -5\n")), "bad.toml:3: weight: -5 is not in 1..=10000");
    assert_eq!(refusal("seconds = 0\nprogram = []"), "bad.toml:1: seconds: 0 is not in 1..=86400");
    assert_eq!(
        refusal(&format!("{head}class = \"fast\"\n")),
        "bad.toml:3: class: 'fast' is none of interactive, normal, batch, ipcServer"
    );
    assert_eq!(refusal(&format!("{head}affinity = \"3-1\"\n")), "bad.toml:3: affinity: the range '3-1' is empty");
    assert!(refusal(&format!("{head}affinity = \"512\"\n")).starts_with("bad.toml:3: affinity: '512'"));
    assert!(refusal(&format!("{head}count = \"2*x\"\n")).starts_with("bad.toml:3: count: "));
    assert!(refusal(&format!("{head}wieght = 1\n")).starts_with("bad.toml:3: "));
    assert!(refusal("policy = ").starts_with("bad.toml:1: "));
    assert_eq!(
        refusal("[[program]]\nname = \"a b\"\n"),
        "bad.toml:2: name: only letters, digits, '-', '_' and '.' are allowed"
    );
    assert_eq!(refusal(&format!("{head}threads = 5000\n")), "bad.toml:3: threads: 5000 is not in 1..=4096");
    let arguments = "x".repeat(1025);
    assert_eq!(
        refusal(&format!("{head}arguments = \"{arguments}\"\n")),
        "bad.toml:3: arguments: 1025 bytes, at most 1024 are allowed"
    );
}

#[test]
fn bad_grants_name_file_line_and_key() {
    let grants = |list: &str| refusal(&format!("[[program]]\nname = \"x\"\ngrants = [\n  \"timer\",\n  {list},\n]\n"));
    let refusals = [
        ("\"tiemr\"", "bad.toml:5: grants: 'tiemr' is none of console, timer, "),
        ("\"timer\"", "bad.toml:5: grants: 'timer' occurs twice"),
        ("{ name = \"x\" }", "bad.toml:5: grants: 'x' is none of console, timer, "),
        ("{ name = \"x\", kernel = \"y\" }", "bad.toml:5: grants: 'y' is none of console, timer, "),
        ("{ name = \"\", kernel = \"console\" }", "bad.toml:5: name: empty"),
        ("{ kernel = \"console\" }", "bad.toml:5: grants: missing field `name`"),
        ("{ name = \"console\", bagde = 1 }", "bad.toml:5: grants: unknown field `bagde`"),
        ("{ name = \"console\", badge = 1 }", "bad.toml:5: grants: only a client's capability has a `badge`"),
        ("{ name = \"console\", most-processes = 1 }", "bad.toml:5: grants: only a process-spawner has"),
        ("{ name = \"process-spawner\", most-processes = 0 }", "bad.toml:5: most-processes: 0 is not in 1..="),
        ("{ name = \"a\", client-of = \"b\", badge = -1 }", "bad.toml:5: badge: invalid value: integer `-1`"),
        ("{ name = \"a\", client-of = \"b\", kernel = \"timer\" }", "bad.toml:5: grants: either `kernel` or"),
        ("{ name = \"a\", client-of = \"calx\" }", "bad.toml:5: client-of: no program serves 'calx'"),
        ("5", "bad.toml:5: grants: invalid type: integer `5`, expected the name of a capability, or a table"),
    ];
    for (list, expected) in refusals {
        let found = grants(list);
        assert!(found.starts_with(expected), "{list} gave {found}");
    }
    let names: Vec<String> = (0..16).map(|n| format!("{{name=\"g{n}\",kernel=\"console\"}}")).collect();
    assert_eq!(grants(&names.join(",")), "bad.toml:5: grants: more than 16 grants");
}

#[test]
fn bad_endpoints_name_file_line_and_key() {
    let source = |endpoint: &str, serves: &str, more: &str| {
        refusal(&format!("[[endpoint]]\n{endpoint}\n[[program]]\nname='a'\nserves=['{serves}']\n{more}"))
    };
    let calc = "name='calc'\ninterface=1";
    assert_eq!(source(calc, "calx", ""), "bad.toml:6: serves: no entry of endpoints has the name 'calx'");
    let again = "[[program]]\nname='b'\nserves=['calc']";
    assert_eq!(source(calc, "calc", again), "bad.toml:9: serves: 'calc' has a server already");
    assert_eq!(
        source(&format!("{calc}\n[[endpoint]]\nname='calc'\ninterface=2"), "calc", ""),
        "bad.toml:5: name: occurs twice"
    );
    assert_eq!(
        source(&format!("{calc}\n[[endpoint]]\nname='idle'\ninterface=2"), "calc", ""),
        "bad.toml:5: name: no program serves 'idle'"
    );
    assert_eq!(source("name='calc'\ninterface=0", "calc", ""), "bad.toml:3: interface: no interface is 0");
    assert_eq!(
        source("name='calc'\ninterface='Nothing'", "calc", ""),
        "bad.toml:3: interface: the kernel has no interface 'Nothing'"
    );
    let own = "grants = [{ name = \"calc\", client-of = \"calc\" }]";
    assert_eq!(source(calc, "calc", own), "bad.toml:6: serves: 'calc' occurs twice");
}

#[test]
fn a_missing_program_file_or_cpu_is_named_with_its_line() {
    let refused = |text: &str, cpus| {
        let source: ManifestSource = parse("t.toml", text).unwrap();
        build(&source, cpus, &binaries()).unwrap_err().to_string()
    };
    assert_eq!(refused("[[program]]\nname='nobody'", 1), "t.toml:2: name: there is no program file nobody");
    assert_eq!(
        refused("[[program]]\nname='a'\nbinary='nobody'", 1),
        "t.toml:3: binary: there is no program file nobody"
    );
    assert_eq!(refused("init='nobody'\n[[program]]\nname='hog'", 1), "t.toml:1: init: there is no program file nobody");
    assert_eq!(
        refused("binaries=['tool',\n'nobody']\n[[program]]\nname='hog'", 1),
        "t.toml:2: binaries: there is no program file nobody"
    );
    assert_eq!(
        refused("[[program]]\nname='hog'\naffinity='2-3'", 2),
        "t.toml:3: affinity: none of the machine's 2 CPUs"
    );
    let many = "[[program]]\nname='hog'\ncount=4000\n[[program]]\nname='more'\nbinary='hog'\ncount='100*cpus'";
    assert_eq!(refused(many, 2), "t.toml:5: programs[1].count: 4200 instances in all, at most 4096 are allowed");
}

/// A manifest of one program and one binary, changed by `change`, and what the reader says.
fn changed(change: impl FnOnce(wire::manifest::Builder<'_>)) -> String {
    let mut message = capnp::message::Builder::new_default();
    let mut root = message.init_root::<wire::manifest::Builder<'_>>();
    let mut program = root.reborrow().init_programs(1).get(0);
    program.set_name("hog");
    program.set_binary("hog");
    let mut binary = root.reborrow().init_binaries(1).get(0);
    binary.set_name("hog");
    binary.set_elf(&[1]);
    change(root);
    let bytes = capnp::serialize::write_message_to_words(&message);
    match Manifest::read(&bytes) {
        Ok(_) => "good".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_unchanged_manifest_is_good() {
    assert_eq!(changed(|_| {}), "good");
}

#[test]
fn each_bad_value_is_named_with_its_path() {
    let program =
        |change: fn(wire::program::Builder<'_>)| changed(move |root| change(root.get_programs().unwrap().get(0)));
    assert_eq!(program(|mut p| p.set_weight(0)), "programs[0].weight: 0 is not in 1..=10000");
    assert_eq!(program(|mut p| p.set_weight(10_001)), "programs[0].weight: 10001 is not in 1..=10000");
    assert_eq!(program(|mut p| p.set_count(0)), "programs[0].count: 0 is not in 1..=4096");
    assert_eq!(
        program(|p| p.get_request().set_microseconds(5)),
        "programs[0].request.microseconds: 5 is not in 100..=100000"
    );
    assert_eq!(
        program(|p| {
            p.get_affinity().init_words(0);
        }),
        "programs[0].affinity.words: empty"
    );
    assert_eq!(
        program(|p| p.get_affinity().init_words(9).set(8, 1)),
        "programs[0].affinity.words: CPU 512 is above 511"
    );
    assert_eq!(program(|mut p| p.set_binary("x")), "programs[0].binary: no entry of binaries has this name");
    assert_eq!(program(|mut p| p.set_name("")), "programs[0].name: empty");
    assert_eq!(
        program(|mut p| p.set_name("a\"b")),
        "programs[0].name: only letters, digits, '-', '_' and '.' are allowed"
    );
    assert_eq!(
        program(|mut p| p.set_arguments("x".repeat(1025))),
        "programs[0].arguments: 1025 bytes, at most 1024 are allowed"
    );
    assert_eq!(
        program(|p| {
            p.init_plain_grants(2);
        }),
        "programs[0].plainGrants: occurs twice"
    );
    assert_eq!(
        changed(|r| {
            r.init_programs(0);
        }),
        "programs: 0 is not in 1..=1024"
    );
    assert_eq!(changed(|mut r| r.set_base_request_us(0)), "baseRequestUs: 0 is not in 100..=100000");
    assert_eq!(changed(|r| r.get_cpus().set_first(0)), "cpus: 0 is not in 1..=512");
    assert_eq!(changed(|r| r.get_run_length().set_seconds(0)), "runLength.seconds: 0 is not in 1..=86400");
    assert_eq!(changed(|r| r.get_binaries().unwrap().get(0).set_elf(&[])), "binaries[0].elf: empty");
}

/// A manifest of three programs and two endpoints, the last program with two grants, the second of which `change` gets.
fn graph(change: impl FnOnce(wire::grant::Builder<'_>)) -> String {
    changed(|mut root| {
        let mut endpoints = root.reborrow().init_endpoints(2);
        for (index, name) in ["calc", "log"].into_iter().enumerate() {
            let mut endpoint = endpoints.reborrow().get(index as u32);
            endpoint.set_name(name);
            endpoint.set_interface(1);
        }
        let mut programs = root.init_programs(3);
        for (index, served) in ["calc", "log", ""].into_iter().enumerate() {
            let mut program = programs.reborrow().get(index as u32);
            program.set_name("hog");
            program.set_binary("hog");
            let mut grants = program.init_grants(2);
            grants.reborrow().get(1).set_name("second");
            let mut first = grants.get(0);
            first.set_name("first");
            if !served.is_empty() {
                first.get_source().set_server_of(served);
            }
        }
        change(programs.get(2).get_grants().unwrap().get(1));
    })
}

#[test]
fn each_fault_of_the_service_graph_is_named_with_its_path() {
    assert_eq!(graph(|_| {}), "good");
    assert_eq!(graph(|g| g.get_source().set_client_of("calc")), "good");
    assert_eq!(
        graph(|g| g.get_source().set_client_of("calx")),
        "programs[2].grants[1].clientOf: no program serves 'calx'"
    );
    assert_eq!(
        graph(|g| g.get_source().set_server_of("calx")),
        "programs[2].grants[1].serverOf: no entry of endpoints has the name 'calx'"
    );
    assert_eq!(
        graph(|g| g.get_source().set_server_of("log")),
        "programs[2].grants[1].serverOf: 'log' has a server already"
    );
    assert_eq!(graph(|mut g| g.set_name("first")), "programs[2].grants[1].name: occurs twice");
    assert_eq!(
        graph(|mut g| g.set_name("x".repeat(32))),
        "programs[2].grants[1].name: 32 bytes, at most 31 are allowed"
    );
    assert_eq!(graph(|mut g| g.set_name("")), "programs[2].grants[1].name: empty");
    let misplaced = "the source of this grant takes no such value";
    assert_eq!(graph(|mut g| g.set_badge(1)), format!("programs[2].grants[1].badge: {misplaced}"));
    assert_eq!(graph(|mut g| g.set_most_processes(1)), format!("programs[2].grants[1].mostProcesses: {misplaced}"));
    let spawner = |mut g: wire::grant::Builder<'_>| {
        g.set_most_processes(1);
        g.get_source().set_kernel(wire::Capability::ProcessSpawner);
    };
    assert_eq!(graph(spawner), "good");
    assert_eq!(
        changed(|r| {
            let mut endpoint = r.init_endpoints(1).get(0);
            endpoint.set_name("calc");
            endpoint.set_interface(1);
        }),
        "endpoints[0].name: no program serves 'calc'"
    );
    assert_eq!(
        changed(|r| r.init_endpoints(1).get(0).set_name("calc")),
        "endpoints[0].interface: 0 is not in 1..=18446744073709551615"
    );
    assert_eq!(
        changed(|r| {
            r.get_programs().unwrap().get(0).init_grants(17);
        }),
        "programs[0].grants: 17 is not in 0..=16"
    );
    assert_eq!(
        changed(|r| r.get_programs().unwrap().get(0).set_threads(4097)),
        "programs[0].threads: 4097 is not in 0..=4096"
    );
}

#[test]
fn a_manifest_of_the_first_version_grants_what_it_granted() {
    let mut message = capnp::message::Builder::new_default();
    let mut root = message.init_root::<wire::manifest::Builder<'_>>();
    let mut program = root.reborrow().init_programs(1).get(0);
    program.set_name("hog");
    program.set_binary("hog");
    let mut grants = program.init_plain_grants(2);
    grants.set(0, wire::Capability::SchedulingPolicy);
    grants.set(1, wire::Capability::Console);
    let mut binary = root.init_binaries(1).get(0);
    binary.set_name("hog");
    binary.set_elf(&[1]);
    let bytes = capnp::serialize::write_message_to_words(&message);
    let manifest = Manifest::read(&bytes).unwrap();
    let names: Vec<&str> = manifest.programs()[0].grants.iter().map(|grant| grant.name).collect();
    assert_eq!(names, ["scheduling-policy", "console"]);
}

#[test]
fn source_errors_are_errors() {
    let error = SourceError { file: "f".into(), line: 3, message: "m".into() };
    let error: Box<dyn std::error::Error> = Box::new(error);
    assert_eq!(error.to_string(), "f:3: m");
}
