//! `vestibule dialects`: shows what SCIM clients do outside the standard.

use clap::Args;
use serde_json::json;

use super::{Failure, plural};
use crate::app::Core;
use crate::config::Config;
use crate::domain::ServiceProviderName;
use crate::storage::{StorageError, dialects};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only the client of this service provider.
    #[arg(long, value_name = "NAME")]
    service_provider: Option<String>,
    /// Reset the counts of the service provider.
    #[arg(long, requires = "service_provider")]
    forget: bool,
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<(), Failure> {
    let name = arguments.service_provider.clone().map(ServiceProviderName::new);
    if let Some(unknown) = name.as_ref().filter(|name| config.service_provider(name).is_none()) {
        return Err(Failure::Usage(format!(
            "No service provider is called {unknown}. See [[service_providers]] in the configuration."
        )));
    }
    let core = Core::open(config)?;
    if let (true, Some(name)) = (arguments.forget, name.clone()) {
        let forgotten = core
            .database
            .write::<_, StorageError>(move |connection| Ok(dialects::forget(connection, &name)?));
        let forgotten = forgotten.map_err(Failure::failed)?;
        if json {
            println!("{}", json!({ "forgotten": forgotten }));
        } else {
            println!("Forgot {}.", plural(forgotten, "count"));
        }
        return Ok(());
    }
    let mut counts = core
        .database
        .read::<_, StorageError>(dialects::all)
        .map_err(Failure::failed)?;
    counts.retain(|count| name.as_ref().is_none_or(|name| count.service_provider == *name));
    if json {
        let counts = counts.iter().map(|count| {
            json!({
                "service_provider": count.service_provider,
                "rule": count.rule,
                "requests": count.requests,
                "last_seen": count.last_seen.to_string(),
            })
        });
        println!("{}", json!(counts.collect::<Vec<_>>()));
        return Ok(());
    }
    if counts.is_empty() {
        println!("No client used anything outside the standard.");
    } else {
        println!("The rules are explained in docs/scim.md.");
    }
    let mut last = None;
    for count in &counts {
        if last != Some(&count.service_provider) {
            println!("{}", count.service_provider);
            last = Some(&count.service_provider);
        }
        let requests = plural(usize::try_from(count.requests).unwrap_or(usize::MAX), "request");
        println!("  {:<30}  {requests}, last {}", count.rule, count.last_seen);
    }
    Ok(())
}
