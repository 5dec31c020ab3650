//! Converts the literal of a comparison to the type of the attribute.

use super::scan::Literal;
use super::{Comparand, Operator, tolerance};
use crate::domain::Timestamp;
use crate::domain::schema::{Attribute, DataType};

/// The converted value, and the tolerance that it needed.
pub(super) type Fit = (Comparand, Option<&'static str>);

/// Converts a literal to the attribute's type; the error says what was expected.
pub(super) fn comparand(attribute: &Attribute, literal: Literal) -> Result<Fit, &'static str> {
    match attribute.data_type {
        DataType::Boolean => boolean(literal),
        DataType::Integer | DataType::Decimal => number(literal),
        DataType::DateTime => moment(literal),
        DataType::String | DataType::Reference | DataType::Binary | DataType::Complex => Ok(match literal {
            Literal::Quoted(text) => (Comparand::Text(text), None),
            Literal::Bare(text) => (Comparand::Text(text), Some(tolerance::UNQUOTED_TEXT)),
        }),
    }
}

/// Whether the operator applies to values of this type (RFC 7644 §3.4.2.2); the error says which ones do.
pub(super) fn check_operator(attribute: &Attribute, operator: Operator) -> Result<(), &'static str> {
    use Operator::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
    match (attribute.data_type, operator) {
        (_, Eq | Ne) => Ok(()),
        (DataType::Boolean, _) => Err("booleans compare with eq and ne only"),
        (DataType::Binary, Gt | Ge | Lt | Le) => Err("binary values have no order"),
        (DataType::Integer | DataType::Decimal | DataType::DateTime, Co | Sw | Ew) => {
            Err("co, sw and ew are for strings only")
        }
        _ => Ok(()),
    }
}

fn boolean(literal: Literal) -> Result<Fit, &'static str> {
    let (text, quoted) = match &literal {
        Literal::Quoted(text) => (text, true),
        Literal::Bare(text) => (text, false),
    };
    let value = match text.to_ascii_lowercase().as_str() {
        "true" => true,
        "false" => false,
        _ => return Err("true or false was expected"),
    };
    let strict = !quoted && matches!(text.as_str(), "true" | "false");
    Ok((
        Comparand::Boolean(value),
        (!strict).then_some(tolerance::LITERAL_SPELLING),
    ))
}

fn number(literal: Literal) -> Result<Fit, &'static str> {
    let (text, quoted) = match literal {
        Literal::Quoted(text) => (text, true),
        Literal::Bare(text) => (text, false),
    };
    let value = text
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .ok_or("a number was expected")?;
    Ok((Comparand::Number(value), quoted.then_some(tolerance::LITERAL_SPELLING)))
}

fn moment(literal: Literal) -> Result<Fit, &'static str> {
    let (text, quoted) = match literal {
        Literal::Quoted(text) => (text, true),
        Literal::Bare(text) => (text, false),
    };
    if let Some(moment) = Timestamp::parse(&text) {
        return Ok((Comparand::Moment(moment), (!quoted).then_some(tolerance::UNQUOTED_TEXT)));
    }
    let day = Timestamp::parse(&format!("{text}T00:00:00Z")).ok_or("a date and time was expected")?;
    Ok((Comparand::Moment(day), Some(tolerance::DATE_ONLY)))
}
