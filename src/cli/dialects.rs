//! `vestibule dialects`: shows what SCIM clients do outside the standard.

use clap::Args;
use serde_json::json;

use super::{CommandError, operations, plural};
use crate::config::Config;
use crate::operations::dialects;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only the client of this service provider.
    #[arg(long, value_name = "NAME")]
    service_provider: Option<String>,
    /// Reset the counts of the service provider.
    #[arg(long, requires = "service_provider")]
    forget: bool,
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<(), CommandError> {
    let context = operations(config)?;
    let name = arguments.service_provider.as_deref();
    if let (true, Some(name)) = (arguments.forget, name) {
        let forgotten = dialects::forget(&context, name)?;
        if json {
            println!("{}", json!({ "forgotten": forgotten }));
        } else {
            println!("Forgot {}.", plural(forgotten, "count"));
        }
        return Ok(());
    }
    let counts = dialects::list(&context, name)?;
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
