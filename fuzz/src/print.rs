//! Prints filters and paths in standard syntax (RFC 7644 §3.4.2.2, §3.5.2).

use serde_json::Value;
use vestibule::domain::filter::{Comparand, Filter, Operator};
use vestibule::domain::path::Path;
use vestibule::domain::schema::AttributeRef;

/// Prints a filter over resources. A constant becomes a comparison of an attribute that no type has.
pub(crate) fn filter(filter: &Filter) -> String {
    printed(filter, &AttributeRef::path)
}

/// Prints a path of PATCH.
pub(crate) fn path(path: &Path) -> String {
    let whole = AttributeRef {
        sub: None,
        ..path.attribute.clone()
    };
    let sub = path
        .attribute
        .sub
        .as_ref()
        .map(|sub| format!(".{}", sub.name))
        .unwrap_or_default();
    match &path.filter {
        Some(filter) => format!("{}[{}]{sub}", whole.path(), printed(filter, &part)),
        None => path.attribute.path(),
    }
}

/// The name of a sub-attribute in brackets; an element that is no object is its own `value`.
fn part(attribute: &AttributeRef) -> String {
    attribute
        .sub
        .as_ref()
        .map_or_else(|| "value".to_owned(), |sub| sub.name.clone())
}

fn printed(filter: &Filter, name: &dyn Fn(&AttributeRef) -> String) -> String {
    let group = |terms: &[Filter], word: &str| {
        let terms: Vec<String> = terms.iter().map(|term| in_group(term, name)).collect();
        terms.join(word)
    };
    match filter {
        Filter::Constant(true) => "nothing eq null".to_owned(),
        Filter::Constant(false) => "nothing pr".to_owned(),
        Filter::And(terms) => group(terms, " and "),
        Filter::Or(terms) => group(terms, " or "),
        Filter::Not(inner) => format!("not ({})", printed(inner, name)),
        Filter::Present(attribute) => format!("{} pr", name(attribute)),
        Filter::Compare {
            attribute,
            operator,
            value,
        } => format!("{} {} {}", name(attribute), word(*operator), literal(value)),
        Filter::Element { attribute, filter } => {
            let whole = AttributeRef {
                sub: None,
                ..attribute.clone()
            };
            format!("{}[{}]", whole.path(), printed(filter, &part))
        }
    }
}

/// A term of a group, with parentheses if it is a group itself.
fn in_group(term: &Filter, name: &dyn Fn(&AttributeRef) -> String) -> String {
    match term {
        Filter::And(_) | Filter::Or(_) => format!("({})", printed(term, name)),
        _ => printed(term, name),
    }
}

fn word(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "eq",
        Operator::Ne => "ne",
        Operator::Co => "co",
        Operator::Sw => "sw",
        Operator::Ew => "ew",
        Operator::Gt => "gt",
        Operator::Ge => "ge",
        Operator::Lt => "lt",
        Operator::Le => "le",
    }
}

fn literal(value: &Comparand) -> String {
    match value {
        Comparand::Text(text) => Value::from(text.as_str()).to_string(),
        Comparand::Boolean(answer) => answer.to_string(),
        Comparand::Number(number) => number.to_string(),
        Comparand::Moment(moment) => format!("\"{moment}\""),
    }
}
