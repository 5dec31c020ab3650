//! The log format: readable lines or one JSON object per line, each with its request id.

use std::io::Write;

use env_logger::Builder;
use log::kv::{Error, Key, Value, VisitSource};

use crate::config::Log;
use crate::domain::Clock;
use crate::server::request_id;

/// Starts logging to standard error. `RUST_LOG` overrides the configured filter.
pub(super) fn start(settings: &Log) {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.filter.clone());
    let mut builder = Builder::new();
    // r2d2 reports every failed attempt as an error, several a second; the caller reports the outcome once. The startup
    // messages of actix are not useful to operators.
    builder.parse_filters(&format!("{filter},r2d2=off,actix_server=warn"));
    if settings.json {
        builder.format(json);
    } else {
        builder.format(text);
    }
    // A second call, as in tests, keeps the first logger.
    let _ = builder.try_init();
}

fn text(out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>) -> std::io::Result<()> {
    let style = out.default_level_style(record.level());
    let id = request_id::current().unwrap_or_else(|| "-".to_owned());
    write!(
        out,
        "{} {style}{:<5}{style:#} [{id}] {}",
        Clock::system().now(),
        record.level(),
        one_line(record.args())
    )?;
    let mut fields = LogFields::default();
    let _ = record.key_values().visit(&mut fields);
    for (key, value) in fields.0 {
        write!(out, " {key}={value}")?;
    }
    writeln!(out)
}

fn json(out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>) -> std::io::Result<()> {
    let mut fields = LogFields::default();
    let _ = record.key_values().visit(&mut fields);
    let mut line = serde_json::Map::new();
    line.insert("time".to_owned(), Clock::system().now().to_string().into());
    line.insert("level".to_owned(), record.level().as_str().into());
    line.insert(
        "request".to_owned(),
        request_id::current().unwrap_or_else(|| "-".to_owned()).into(),
    );
    line.insert("target".to_owned(), record.target().into());
    line.insert("message".to_owned(), record.args().to_string().into());
    line.extend(fields.0.into_iter().map(|(key, value)| (key, value.into())));
    writeln!(out, "{}", serde_json::Value::Object(line))
}

/// Replaces line breaks, so that logged values cannot forge log lines.
fn one_line(message: &std::fmt::Arguments<'_>) -> String {
    message.to_string().replace(['\n', '\r'], " ")
}

#[derive(Default)]
struct LogFields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for LogFields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0
            .push((key.to_string(), value.to_string().replace(['\n', '\r'], " ")));
        Ok(())
    }
}
