//! Schemas that the generators must refuse, with the place that they must name.

use crate::{Scratch, clients, model::Model, schema_directory};
use std::{fs, process::Command};

/// What the generators say of a schema with this interface and this field.
fn verdict(method: &str, field: &str) -> String {
    let scratch = Scratch::new().unwrap();
    let file = scratch.0.join("test.capnp");
    let text = format!(
        "@0xb8400725fa327eff;\nusing A = import \"/annotations.capnp\";\n\
         struct Empty {{}}\nstruct Params {{ field @0 :{field}; }}\ninterface Thing {{ {method}; }}\n"
    );
    fs::write(&file, text).unwrap();
    let request = Command::new("capnp")
        .args(["compile", "-o-", "-I"])
        .args([&schema_directory(), &file])
        .env_remove("PWD")
        .output()
        .unwrap();
    assert!(request.status.success(), "{}", String::from_utf8_lossy(&request.stderr));
    match Model::read(&request.stdout).and_then(|model| clients::generate(&model)) {
        Ok(_) => "good".into(),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_schema_without_faults_is_good() {
    assert_eq!(verdict("do @0 Params -> Empty $A.mayLend(\"thread\") $A.resultsGive(2)", "UInt16"), "good");
}

#[test]
fn a_method_that_would_hide_a_clients_own_is_refused_unless_it_has_another_name() {
    let own = "Thing.handle: a client has a `handle` of its own; say $clientName";
    assert_eq!(verdict("handle @0 Params -> Empty", "UInt16"), own);
    assert_eq!(verdict("handle @0 Params -> Empty $A.clientName(\"other\")", "UInt16"), "good");
}

#[test]
fn annotations_that_contradict_each_other_are_refused() {
    assert_eq!(
        verdict("do @0 Params -> Empty $A.lends(1) $A.gives", "UInt16"),
        "Thing.do: a method has at most one of $lends, $mayLend and $gives"
    );
}

#[test]
fn fields_that_no_encoder_knows_are_refused() {
    let method = "do @0 Params -> Empty";
    let kinds = "messages hold unsigned integers, enums, text, data and lists only";
    assert_eq!(verdict(method, "Float64"), format!("Params: field field: {kinds}"));
    assert_eq!(verdict(method, "List(UInt8)"), "Params: field field: messages hold lists of UInt64 only");
}
