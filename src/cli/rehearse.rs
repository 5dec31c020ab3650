//! `vestibule rehearse`: shows the effects of a login without changing anything.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::{CommandError, progress};
use crate::app::Core;
use crate::app::rehearsal::{self, RehearsalBase, RehearsalError, RehearsedLogin};
use crate::config::Config;
use crate::storage::random;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The identity provider of the login.
    #[arg(long, value_name = "NAME")]
    idp: String,
    /// A JSON file with the claims of the ID token and the userinfo response, or - for standard input.
    #[arg(long, value_name = "FILE")]
    claims: PathBuf,
    /// The application of the login. By default the first one that accepts the identity provider.
    #[arg(long, value_name = "NAME")]
    sp: Option<String>,
    /// Record the login as a golden file in this folder, with made-up values in place of personal ones, for
    /// `vestibule check --golden`.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<(), CommandError> {
    let login = RehearsedLogin {
        identity_provider: arguments.idp.clone().into(),
        service_provider: arguments.sp.clone().map(Into::into),
        claims: claims(&arguments.claims)?,
    };
    if let Some(folder) = &arguments.record {
        return record(folder, &login, config);
    }
    let core = Core::open(config)?;
    let outcome = rehearsal::rehearse(config, &login, &RehearsalBase::Here(&core)).map_err(failed)?;
    if json {
        println!("{outcome}");
    } else {
        print!("{}", told(&outcome));
    }
    if outcome["outcome"].get("refused").is_some() {
        return Err(CommandError::Failed("The login would be refused.".to_owned()));
    }
    Ok(())
}

/// Replays every golden file of a folder against the configuration. Returns their number.
pub(super) fn replay(folder: &Path, config: &Config) -> Result<usize, CommandError> {
    let unreadable = |path: &Path, cause: &dyn std::fmt::Display| {
        CommandError::Usage(format!("{} cannot be read: {cause}.", path.display()))
    };
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut differing = 0;
    let progress = progress::bar(files.len(), "golden logins");
    for path in progress.wrap_iter(files.iter()) {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let golden: Value = serde_json::from_str(&text).map_err(|error| unreadable(path, &error))?;
        let outcome = rehearse_golden(&golden, config).map_err(failed)?;
        let differences = differences("", &golden["expected"], &outcome);
        if differences.is_empty() {
            continue;
        }
        differing += 1;
        progress.suspend(|| {
            eprintln!("{}:", path.display());
            for difference in differences {
                eprintln!("  {difference}");
            }
        });
    }
    progress.finish_and_clear();
    if differing > 0 {
        let count = files.len();
        return Err(CommandError::Failed(format!(
            "{differing} of {count} golden logins have another outcome. If that is intended, record them again."
        )));
    }
    Ok(files.len())
}

fn rehearse_golden(golden: &Value, config: &Config) -> Result<Value, RehearsalError> {
    let text = |name: &str| golden[name].as_str().map(str::to_owned);
    let login = RehearsedLogin {
        identity_provider: text("idp").unwrap_or_default().into(),
        service_provider: text("sp").map(Into::into),
        claims: golden["claims"].as_object().cloned().unwrap_or_default(),
    };
    let existing = golden["existing"].as_array().cloned().unwrap_or_default();
    let mut outcome = rehearsal::rehearse(config, &login, &RehearsalBase::Given(&existing))?;
    // Ids differ in each run.
    if let Some(account) = outcome["account"].as_object_mut() {
        account.remove("id");
    }
    blank_ids(&mut outcome["requests"]);
    Ok(outcome)
}

fn blank_ids(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "externalId" {
                    *member = "{our id}".into();
                }
                blank_ids(member);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(blank_ids),
        _ => {}
    }
}

fn record(folder: &Path, login: &RehearsedLogin, config: &Config) -> Result<(), CommandError> {
    let claims = redacted(&login.claims);
    let mut golden = json!({
        "idp": login.identity_provider,
        "sp": login.service_provider,
        "claims": claims,
        "existing": [],
    });
    golden["expected"] = rehearse_golden(&golden, config).map_err(failed)?;
    std::fs::create_dir_all(folder).map_err(CommandError::failed)?;
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    let name = format!(
        "{}-{}.json",
        login.identity_provider,
        &random::fingerprint(subject)[..8]
    );
    let path = folder.join(name);
    let text = serde_json::to_string_pretty(&golden).map_err(CommandError::failed)? + "\n";
    std::fs::write(&path, text).map_err(CommandError::failed)?;
    eprintln!("{} is written. Review it before you share it.", path.display());
    Ok(())
}

/// Claims with personal data.
const PERSONAL: [&str; 18] = [
    "sub",
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "upn",
    "unique_name",
    "login",
    "email",
    "phone_number",
    "picture",
    "profile",
    "website",
    "birthdate",
    "address",
    "oid",
];

/// Replaces personal values by made-up ones. Equal values get equal replacements, so that references still match.
fn redacted(claims: &Map<String, Value>) -> Map<String, Value> {
    let stand_in = |name: &str, value: &Value| match value.as_str() {
        None => json!(format!("{name}-of-somebody")),
        Some(text) => {
            let mark = &random::fingerprint(text)[..8].to_lowercase();
            match text.split_once('@') {
                Some((_, domain)) => json!(format!("person-{mark}@{domain}")),
                None => json!(format!("{name}-{mark}")),
            }
        }
    };
    let redact = |(name, value): (&String, &Value)| {
        let value = if PERSONAL.contains(&name.as_str()) {
            stand_in(name, value)
        } else {
            value.clone()
        };
        (name.clone(), value)
    };
    claims.iter().map(redact).collect()
}

/// The differences between two outcomes, one line each.
fn differences(path: &str, expected: &Value, found: &Value) -> Vec<String> {
    match (expected, found) {
        (Value::Object(before), Value::Object(after)) => {
            let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let each = |name: &String| {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                differences(&path, &expected[name.as_str()], &found[name.as_str()])
            };
            names.into_iter().flat_map(each).collect()
        }
        _ if expected == found => Vec::new(),
        _ => vec![format!("{path}: was {expected}, is {found}")],
    }
}

fn claims(path: &Path) -> Result<Map<String, Value>, CommandError> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    let shown = path.display();
    read.map_err(|error| CommandError::Usage(format!("{shown} cannot be read: {error}.")))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(claims)) => Ok(claims),
        Ok(_) => Err(CommandError::Usage(format!(
            "{shown} must contain one JSON object with the claims."
        ))),
        Err(error) => Err(CommandError::Usage(format!("{shown} is not JSON: {error}."))),
    }
}

fn failed(error: RehearsalError) -> CommandError {
    match error {
        RehearsalError::Unknown(what) => CommandError::Usage(what),
        error => CommandError::failed(error),
    }
}

/// Formats an outcome as text.
fn told(outcome: &Value) -> String {
    let mut lines = vec![verdict(outcome)];
    let account = &outcome["account"];
    if let Some(username) = account["userName"].as_str() {
        let how = match (account["new"] == true, account["newly_linked"] == true) {
            (true, _) => "a new account",
            (_, true) => "an existing account, newly linked",
            _ => "the linked account",
        };
        lines.push(format!("Account    {username} in {}: {how}", word(&account["store"])));
        let changes = account["changes"].as_object().into_iter().flatten();
        lines.extend(changes.map(|(path, value)| format!("  {path} = {value}")));
    }
    for (title, name) in [("Joins", "joined"), ("Leaves", "left")] {
        let groups: Vec<String> = list(&outcome["groups"][name]).map(word).collect();
        if !groups.is_empty() {
            lines.push(format!("{title:10} {}", groups.join(", ")));
        }
    }
    lines.extend(list(&outcome["pages"]).map(|page| format!("Page       {}", page_line(page))));
    for target in list(&outcome["requests"]) {
        lines.push(format!("Target     {}", word(&target["target"])));
        for request in list(&target["requests"]) {
            lines.push(format!("  {} {}", word(&request["method"]), word(&request["url"])));
            lines.push(format!("    {}", request["body"]));
        }
    }
    let unused: Vec<String> = list(&outcome["unused_claims"]).map(word).collect();
    if !unused.is_empty() {
        lines.push(format!("Not used   {}", unused.join(", ")));
    }
    lines.push("Nothing was changed.\n".to_owned());
    lines.join("\n")
}

fn verdict(outcome: &Value) -> String {
    let (end, application) = (&outcome["outcome"], word(&outcome["application"]));
    if end["let_in"] == true {
        return format!("The person would be let in to {application}.");
    }
    match end["refused"].as_str() {
        Some(code) => format!(
            "The login to {application} would be refused ({code}): {}.",
            word(&end["why"])
        ),
        None => format!(
            "The login to {application} would wait at a page: {}.",
            word(&end["stands_at"])
        ),
    }
}

fn page_line(page: &Value) -> String {
    let asks: Vec<String> = ["username", "password", "account", "purposes", "missing", "suggested"]
        .into_iter()
        .filter(|name| !matches!(&page[name], Value::Null | Value::Bool(false)) && page[name] != json!([]))
        .map(|name| match &page[name] {
            Value::Bool(_) => name.to_owned(),
            Value::Array(_) => format!("{name}: {}", list(&page[name]).map(word).collect::<Vec<_>>().join(", ")),
            value => format!("{name}: {}", word(value)),
        })
        .collect();
    let name = word(&page["page"]);
    if asks.is_empty() {
        name
    } else {
        format!("{name} ({})", asks.join("; "))
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
