//! R4: converts one plain value to the type of its schema.

use serde_json::{Number, Value};

use super::{Deviations, rule};
use crate::domain::Timestamp;
use crate::domain::schema::{Attribute, DataType};
use crate::domain::validate::{Invalid, InvalidKind};

/// Returns the value in its type; none if it means unassigned.
pub(super) fn scalar(
    definition: &Attribute,
    path: &str,
    value: Value,
    deviations: &mut Deviations,
) -> Result<Option<Value>, Invalid> {
    let is_text = matches!(definition.data_type, DataType::String | DataType::Binary);
    if value.is_null() || (value == "" && !is_text) {
        let is_empty_reference = definition.data_type == DataType::Reference && !value.is_null();
        deviations.hit(if is_empty_reference {
            rule::REFERENCE
        } else {
            rule::UNASSIGNED
        });
        return Ok(None);
    }
    let read = match definition.data_type {
        DataType::String | DataType::Binary | DataType::Reference => as_text(&value).ok_or("must be a string"),
        DataType::Boolean => as_boolean(&value).ok_or("must be true or false"),
        DataType::Integer => as_integer(&value).ok_or("must be a whole number"),
        DataType::Decimal => as_decimal(&value).ok_or("must be a number"),
        DataType::DateTime => as_moment(&value).ok_or("must be a date and time, such as 2026-01-31T08:00:00Z"),
        DataType::Complex => Err("must be an object"),
    };
    let read = read.map_err(|expected| Invalid::new(InvalidKind::Value, format!("{path} {expected}")))?;
    if read != value {
        deviations.hit(rule::COERCED);
    }
    Ok(Some(read))
}

fn as_text(value: &Value) -> Option<Value> {
    match value {
        Value::String(_) => Some(value.clone()),
        Value::Number(_) | Value::Bool(_) => Some(Value::String(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn as_boolean(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(_) => Some(value.clone()),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        _ => None,
    }
}

fn as_integer(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(value.clone()),
        // `7.0` prints as `7`; numbers with a fraction or out of range do not parse.
        Value::Number(number) => number.as_f64()?.to_string().parse::<i64>().ok().map(Value::from),
        Value::String(text) => text.trim().parse::<i64>().ok().map(Value::from),
        _ => None,
    }
}

fn as_decimal(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => {
            let text = text.trim();
            let whole = text.parse::<i64>().ok().map(Value::from);
            whole.or_else(|| text.parse().ok().and_then(Number::from_f64).map(Value::Number))
        }
        _ => None,
    }
}

fn as_moment(value: &Value) -> Option<Value> {
    value.as_str().and_then(Timestamp::parse).map(|_| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_whole_number_keeps_its_value_however_it_is_written() {
        let read: Value = serde_json::from_str("4049761635930318.0").unwrap();
        assert_eq!(as_integer(&read), Some(Value::from(4_049_761_635_930_318_i64)));
    }
}
