//! The annotations of methods (`annotations.capnp`): which capabilities travel beside a message.

use anyhow::{Context, Result, bail};
use capnp::{
    schema_capnp::{annotation, value},
    struct_list,
};
use std::collections::HashMap;

/// What a method's annotations say.
#[derive(Default)]
pub struct Annotations {
    /// How many capabilities every call lends.
    pub lends: u16,
    /// What a call may lend one capability as.
    pub may_lend: Option<String>,
    /// Whether a call gives capabilities, any number of them.
    pub gives: bool,
    /// How many capabilities come with the results.
    pub results_give: u16,
    /// What the client's method is called, if not like the schema's.
    pub client_name: Option<String>,
}

impl Annotations {
    /// Reads the annotations of a method; `names` are those of every declared annotation, by id.
    pub fn read(list: struct_list::Reader<'_, annotation::Owned>, names: &HashMap<u64, String>) -> Result<Self> {
        let mut found = Self::default();
        for annotation in list {
            let name = names.get(&annotation.get_id()).context("an annotation that no file declares")?;
            match (name.as_str(), annotation.get_value()?.which()?) {
                ("lends", value::Uint16(count)) => found.lends = count,
                ("mayLend", value::Text(name)) => found.may_lend = Some(name?.to_str()?.to_string()),
                ("gives", value::Void(())) => found.gives = true,
                ("resultsGive", value::Uint16(count)) => found.results_give = count,
                ("clientName", value::Text(name)) => found.client_name = Some(name?.to_str()?.to_string()),
                _ => bail!("the annotation ${name} means nothing to the generator"),
            }
        }
        if [found.lends > 0, found.gives, found.may_lend.is_some()].into_iter().filter(|&said| said).count() > 1 {
            bail!("a method has at most one of $lends, $mayLend and $gives");
        }
        Ok(found)
    }
}
