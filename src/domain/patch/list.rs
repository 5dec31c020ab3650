//! Operations on multi-valued attributes.

use serde_json::{Map, Value};

use super::PatchOp;
use super::apply::{is_void, no_target, no_value, set_element, set_part};
use crate::domain::Attributes;
use crate::domain::filter::{Comparand, Filter, Operator, matches_element};
use crate::domain::multi_valued::{append, keep_one_primary, remove_listed};
use crate::domain::path::Path;
use crate::domain::schema::DataType;
use crate::domain::validate::Invalid;

/// Applies one operation to a list, which may be empty afterwards.
pub(super) fn edit(map: &mut Attributes, path: &Path, op: PatchOp, value: Option<&Value>) -> Result<(), Invalid> {
    let name = &path.attribute.attribute.name;
    let mut list = match map.remove(name) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(single) => vec![single],
    };
    let done = match op {
        PatchOp::Remove => remove(&mut list, path, value),
        PatchOp::Add | PatchOp::Replace => value
            .ok_or_else(|| no_value(path))
            .and_then(|value| set(&mut list, path, op, value)),
    };
    list.retain(|element| !is_void(element));
    map.insert(name.clone(), Value::Array(list));
    done
}

fn remove(list: &mut Vec<Value>, path: &Path, value: Option<&Value>) -> Result<(), Invalid> {
    let attribute = &path.attribute.attribute;
    let fits = |element: &Value| {
        path.filter
            .as_ref()
            .is_none_or(|filter| matches_element(filter, element))
    };
    match (&path.attribute.sub, value) {
        (Some(sub), _) => {
            let place = path.attribute.path();
            for parts in list
                .iter_mut()
                .filter(|element| fits(element))
                .filter_map(Value::as_object_mut)
            {
                set_part(parts, sub, &place, &Value::Null)?;
            }
        }
        (None, Some(Value::Array(listed))) if path.filter.is_none() => {
            remove_listed(attribute, list, listed);
        }
        (None, _) => list.retain(|element| !fits(element)),
    }
    Ok(())
}

fn set(list: &mut Vec<Value>, path: &Path, op: PatchOp, value: &Value) -> Result<(), Invalid> {
    let attribute = &path.attribute.attribute;
    if path.filter.is_some() || path.attribute.sub.is_some() {
        return set_chosen(list, path, value);
    }
    let new = match value {
        Value::Null => Vec::new(),
        Value::Array(elements) => elements.clone(),
        single => vec![single.clone()],
    };
    if op == PatchOp::Replace {
        list.clear();
    }
    let known = list.len();
    append(attribute, list, new);
    if attribute.sub("primary").is_some() {
        let added: Vec<_> = (known..list.len()).collect();
        keep_one_primary(list, &added);
    }
    Ok(())
}

/// Sets the elements that the filter selects, or a part of every element. If none matches, a new one is made, provided
/// the path describes it.
fn set_chosen(list: &mut Vec<Value>, path: &Path, value: &Value) -> Result<(), Invalid> {
    let fits = |element: &Value| {
        path.filter
            .as_ref()
            .is_none_or(|filter| matches_element(filter, element))
    };
    if value.is_null() && path.attribute.sub.is_none() {
        list.retain(|element| !fits(element));
        return Ok(());
    }
    let mut chosen: Vec<_> = (0..list.len()).filter(|index| fits(&list[*index])).collect();
    if value.is_null() && chosen.is_empty() {
        return Ok(());
    }
    if chosen.is_empty() {
        chosen.push(list.len());
        list.push(new_element(path).ok_or_else(|| no_target(path))?);
    }
    for index in &chosen {
        set_element(&mut list[*index], path, value)?;
    }
    if path.attribute.attribute.sub("primary").is_some() {
        keep_one_primary(list, &chosen);
    }
    Ok(())
}

/// Returns the element that a path describes, if each condition sets a part equal to a value.
fn new_element(path: &Path) -> Option<Value> {
    if path.attribute.attribute.data_type != DataType::Complex {
        return None;
    }
    let mut parts = Map::new();
    let described = path.filter.as_ref().is_none_or(|filter| describe(filter, &mut parts));
    described.then_some(Value::Object(parts))
}

fn describe(filter: &Filter, parts: &mut Attributes) -> bool {
    match filter {
        Filter::And(all) => all.iter().all(|one| describe(one, parts)),
        Filter::Compare {
            attribute,
            operator: Operator::Eq,
            value,
        } => {
            let Some(sub) = &attribute.sub else { return false };
            parts.insert(sub.name.clone(), as_value(value));
            true
        }
        _ => false,
    }
}

fn as_value(comparand: &Comparand) -> Value {
    match comparand {
        Comparand::Text(text) => text.clone().into(),
        Comparand::Boolean(answer) => (*answer).into(),
        Comparand::Moment(moment) => moment.to_string().into(),
        // The text of a whole number has no fraction, so that it reads back as an integer.
        Comparand::Number(number) => number
            .to_string()
            .parse::<i64>()
            .map_or_else(|_| (*number).into(), Value::from),
    }
}
