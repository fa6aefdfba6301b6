//! The service graph of a source: the same rules as the manifest reader's, found with file, line and key.

use super::{ManifestSource, Origin, ProgramSource, SourceError, grant::GrantSource, values::GrantName};
use crate::manifest::Problem;
use std::collections::{BTreeMap, BTreeSet};
use tessera_abi::start::MAX_GRANTS;
use toml::Spanned;

/// Checks that every endpoint is declared once and served by exactly one program, that every client's capability is of
/// such an endpoint, and that no program is granted two things under one name.
pub fn check(source: &ManifestSource, origin: &Origin) -> Result<(), SourceError> {
    let mut served: BTreeMap<&str, bool> = BTreeMap::new();
    for endpoint in &source.endpoints {
        if served.insert(endpoint.name.get_ref(), false).is_some() {
            return Err(origin.error(endpoint.name.span(), &Problem::Duplicate));
        }
    }
    for name in source.programs.iter().flat_map(|program| &program.serves) {
        match served.get_mut(&**name.get_ref()) {
            None => return Err(error(origin, name, Problem::NoSuchEndpoint)),
            Some(true) => return Err(error(origin, name, Problem::ServedTwice)),
            Some(served) => *served = true,
        }
    }
    let unserved = source.endpoints.iter().find(|endpoint| served.get(&**endpoint.name.get_ref()) == Some(&false));
    for program in &source.programs {
        check_clients(program, &served, origin)?;
        check_names(program, origin)?;
    }
    unserved.map_or(Ok(()), |endpoint| Err(error(origin, &endpoint.name, Problem::NotServed)))
}

fn error(origin: &Origin, name: &Spanned<GrantName>, problem: fn(String) -> Problem) -> SourceError {
    origin.error(name.span(), &problem(name.get_ref().to_string()))
}

fn check_clients(program: &ProgramSource, served: &BTreeMap<&str, bool>, origin: &Origin) -> Result<(), SourceError> {
    for grant in &program.grants {
        if let GrantSource::Client { endpoint, .. } = &grant.get_ref().source
            && served.get(&**endpoint.get_ref()) != Some(&true)
        {
            return Err(error(origin, endpoint, Problem::NotServed));
        }
    }
    Ok(())
}

fn check_names(program: &ProgramSource, origin: &Origin) -> Result<(), SourceError> {
    let grants = program.grants.iter().map(|grant| (grant.get_ref().name.as_str(), grant.span()));
    let serves = program.serves.iter().map(|name| (&**name.get_ref(), name.span()));
    let mut names = BTreeSet::new();
    for (name, span) in grants.chain(serves) {
        if !names.insert(name) {
            return Err(origin.error(span, &format_args!("'{name}' {}", Problem::Duplicate)));
        }
        if names.len() > MAX_GRANTS {
            return Err(origin.error(span, &format_args!("more than {MAX_GRANTS} grants")));
        }
    }
    Ok(())
}
