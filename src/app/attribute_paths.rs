//! Checks the attribute paths of the configuration against the user schema. A path that is spelled otherwise than the
//! schema would name another place in a stored user, and what is written there would be lost.

use crate::config::Config;
use crate::domain::Kind;
use crate::domain::schema::{Registry, ResourceType};
use crate::federation::jit::attribute_path::WritablePath;
use crate::federation::jit::claim_mapping::ClaimMapping;

/// Returns the first path that is not in the user schema, or not spelled as there, as a sentence.
pub(super) fn check(config: &Config, registry: &Registry) -> Result<(), String> {
    let Some(user) = registry.resource_type(&Kind::USER) else {
        return Ok(());
    };
    for provider in &config.identity_providers {
        for path in provider.claims.iter().filter_map(ClaimMapping::path) {
            check_path(user, &path)
                .and_then(|()| path.check_target(user))
                .map_err(|problem| format!("identity_providers {}: claims: {problem}", provider.name))?;
        }
    }
    for purpose in &config.purposes {
        for attribute in &purpose.attributes {
            check_path(user, &attribute.path).map_err(|problem| format!("purposes {}: {problem}", purpose.name))?;
        }
    }
    let adopts_by = config
        .service_providers
        .iter()
        .filter_map(|one| one.scim.adopts_by.as_ref());
    match adopts_by.into_iter().find(|path| user.resolve(path).is_none()) {
        Some(path) => Err(format!(
            "service_providers: adopts_by names {path}, which is not an attribute of the user schema"
        )),
        None => Ok(()),
    }
}

fn check_path(user: &ResourceType, path: &WritablePath) -> Result<(), String> {
    match path.canonical(user) {
        None => Err(format!("{} is not an attribute of the user schema", path.as_str())),
        Some(canonical) if canonical != *path => Err(format!(
            "{} is spelled {} in the user schema",
            path.as_str(),
            canonical.as_str()
        )),
        Some(_) => Ok(()),
    }
}
