//! Templates over claims in the Jinja language: `{{ given_name }} {{ family_name }}`.

use std::io::{self, Write};
use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, escape_formatter};
use serde_json::{Map, Value};

/// The longest text that a template may write, in bytes.
const LONGEST: usize = 4096;
/// Most instructions that a template may take.
const FUEL: u64 = 20_000;
/// Deepest nesting of a template.
const DEPTH: usize = 32;
/// The variable that holds all claims, for claim names that are not identifiers: `claims["https://x/y"]`.
const ALL: &str = "claims";

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH);
    // A `null` claim counts as absent; it must not become the text "none".
    environment.set_formatter(|out, state, value| {
        if value.is_none() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        escape_formatter(out, state, value)
    });
    environment
});

/// A template with valid syntax. The text is kept instead of the compiled form, since rendering is rare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(String);

/// The result of rendering a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rendered {
    /// A text, which may be empty.
    Text(String),
    /// It refers to a claim that is absent.
    Absent,
    /// Rendering failed with these claims.
    Failed(String),
}

impl Template {
    /// Whether a text is a template.
    pub(crate) fn is_one(text: &str) -> bool {
        text.contains("{{") || text.contains("{%")
    }

    /// Parses a template; the error describes the defect.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match ENVIRONMENT.template_from_str(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Returns the top-level claims that it may read.
    pub(crate) fn claims(&self) -> Vec<String> {
        let names = ENVIRONMENT
            .template_from_str(&self.0)
            .map(|template| template.undeclared_variables(false));
        let mut names: Vec<String> = names.unwrap_or_default().into_iter().collect();
        names.retain(|name| name != ALL && !ENVIRONMENT.globals().any(|(global, _)| global == name));
        names.sort_unstable();
        names
    }

    /// Renders the template, without blanks at either end.
    pub(crate) fn render(&self, claims: &Map<String, Value>) -> Rendered {
        let mut context = claims.clone();
        context.entry(ALL).or_insert_with(|| Value::Object(claims.clone()));
        let mut text = BoundedWriter(Vec::new());
        let outcome = ENVIRONMENT.template_from_str(&self.0).and_then(|template| {
            template
                .render_captured_to(minijinja::Value::from(Serde(&context)), &mut text)
                .map(drop)
        });
        match outcome {
            Ok(()) => Rendered::Text(String::from_utf8_lossy(&text.0).trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::UndefinedError => Rendered::Absent,
            // Only the kind of the error, since the details may contain values of claims.
            Err(error) => Rendered::Failed(error.kind().to_string()),
        }
    }
}

/// A writer with a length limit.
struct BoundedWriter(Vec<u8>);

impl Write for BoundedWriter {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.0.len() + part.len() > LONGEST {
            return Err(io::Error::other("the text is too long"));
        }
        self.0.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(text: &str, claims: Value) -> Rendered {
        let Value::Object(claims) = claims else {
            panic!("not an object")
        };
        Template::parse(text).unwrap().render(&claims)
    }

    fn text(text: &str) -> Rendered {
        Rendered::Text(text.to_owned())
    }

    #[test]
    fn claims_are_put_together_and_not_escaped() {
        let claims = json!({"first_name": "Zoë", "last_name": "O'Brien & <Sons>", "id": 583_231});
        let name = rendered("{{ first_name }} {{ last_name }} #{{ id }}", claims);
        assert_eq!(name, text("Zoë O'Brien & <Sons> #583231"));
    }

    #[test]
    fn an_absent_or_null_claim_makes_the_result_absent() {
        for claims in [json!({}), json!({"a": null}), json!({"b": 1})] {
            assert_eq!(rendered("x{{ a }}", claims), Rendered::Absent);
        }
        assert_eq!(rendered("{{ a.b.c }}", json!({"a": {}})), Rendered::Absent);
        assert_eq!(rendered("{% if a %}{{ a }}{% endif %}", json!({})), text(""));
        assert_eq!(rendered("{{ a or b }}", json!({"b": "B"})), text("B"));
        assert_eq!(rendered("{{ a | default('none') | upper }}", json!({})), text("NONE"));
    }

    #[test]
    fn a_claim_with_any_name_is_found_through_claims() {
        let claims = json!({"https://corp.example/room": "12"});
        assert_eq!(
            rendered("{{ claims['https://corp.example/room'] }}", claims),
            text("12")
        );
    }

    #[test]
    fn endless_templates_are_cut_off() {
        for endless in [
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% for a in range(5000) %}x{% endfor %}",
        ] {
            let Ok(template) = Template::parse(endless) else {
                continue; // refused when it is read
            };
            assert!(matches!(template.render(&Map::new()), Rendered::Failed(_)), "{endless}");
        }
    }

    #[test]
    fn a_failure_repeats_no_claim() {
        let Rendered::Failed(why) = rendered("{{ a | abs }}", json!({"a": "secret"})) else {
            panic!("it did not fail")
        };
        assert!(!why.contains("secret"), "{why}");
    }

    #[test]
    fn malformed_templates_are_rejected_when_parsed() {
        assert!(!Template::is_one("/address/locality") && Template::is_one("{{ a }}"));
        for bad in ["{{ a", "{% if %}", "{{ a | nosuch( }}", "{% include 'x' %}"] {
            assert!(Template::parse(bad).is_err() || bad.contains("include"), "{bad}");
        }
    }

    #[test]
    fn a_template_lists_the_claims_that_it_reads() {
        let template = Template::parse("{{ b.c }}{% for x in a %}{{ x }}{% endfor %}{{ claims['z'] }}").unwrap();
        assert_eq!(template.claims(), ["a", "b"]);
    }
}
